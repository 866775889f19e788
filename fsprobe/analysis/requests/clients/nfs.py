"""What a Linux client of NFS 3 and 4 asks: names, rights and attributes are cached apart, and each expires by itself.

The rules are those of Linux 6.1; each cites the function that makes it. They were compared with /proc/self/mountstats of
that kernel (docs/method.md). Where the server decides (delegations) or the calls do not show enough (whether a file was
read), `not_predictable` says so.
"""

from __future__ import annotations

from fsprobe.analysis.requests.clients.client import Pages, Visit, is_read_at_once
from fsprobe.analysis.requests.clients.nfs_cache import (
    CHANGES,
    FIRST_ANSWER_BYTES,
    HITS_FOR_PLUS,
    LENT_UNUSED_S,
    Inode,
    Name,
    NfsCache,
    names_per_answer,
)
from fsprobe.analysis.requests.dentries import (
    CHANGE,
    DIRECTORY,
    FILE,
    LOOKUP,
    MISSING,
    NEGATIVE,
    OPEN,
    OTHER,
    READDIR,
    READLINK,
    SOME,
    SPECIAL,
    UNKNOWN,
    Listing,
    Place,
)

_PLAIN = (FILE, SOME, UNKNOWN)
_AFTER_READ = (
    "{n} more or fewer, for access times: they are asked for only if a program has read the file, which no call shows"
)
RIGHTS = "ACCESS"
_AFTER_CHANGE = "a file that the run has changed may be asked for its rights once more"
_GIVEN_BACK = (
    "a file that is lent goes back when it was not used between two looks of the client, each 2/3 of the server's lease (60 s with "
    "nfsd); when it looks, and how long the lease is, no recording tells"
)
_SEVERAL_ANSWERS = "of a large directory the number of answers is estimated from the length of its names"
_NO_CACHE = "with noac or actimeo=0 each read asks first, and reads are in no recording: it is a lower bound"


class NfsClient(NfsCache):
    """One mount of an NFS client; see `clients.Client`."""

    # -- names ------------------------------------------------------------------------------------------------------

    def pass_through(self, directory: Place, visit: Visit) -> None:
        """A name is looked up in this directory. Source: fs/namei.c, may_lookup; fs/nfs/dir.c, nfs_permission."""
        self._permit(directory, visit)

    def look_up(self, place: Place, visit: Visit, *, afresh: bool) -> None:
        """A name in a directory, as nfs_lookup and nfs_do_lookup_revalidate (fs/nfs/dir.c) treat it."""
        name = self._names.get(place)
        if name is None and place.is_pinned:
            name = self._names[place] = Name()  # the run began in it, or below it
        if afresh:
            # making it with LOOKUP_EXCL, or renaming over it, leaves the question to the server (nfs_lookup)
            is_believed = visit.syscall.startswith("rename") and self._protocol.lookup_cache != "none"
            if name is not None and place.kind != MISSING and not is_believed:
                self._look_afresh(place, name, visit)
            self._names.setdefault(place, Name())
            return
        parent = place.parent
        assert parent is not None
        if name is None:
            if self._came_with_listing(place, parent):
                name = self._names[place] = Name(self._inode(place).is_delegated)
            else:
                self._look_up_new(place, parent, visit)
                return
        if name.is_delegated:
            return
        if place.kind == MISSING:
            self._check_missing(place, parent, visit)
        elif self._protocol.lookup_cache == "none":
            self._look_afresh(place, name, visit)
        else:
            self._check_directory(parent, visit)

    def _look_up_new(self, place: Place, parent: Place, visit: Visit) -> None:
        self._names[place] = Name()
        visit.fresh = place
        if visit.is_last and visit.creates and self._v4 and place.kind == MISSING:
            return  # the OPEN that makes it looks it up (nfs_atomic_open)
        if visit.is_last and visit.opens and self._v4 and not visit.wants_directory:
            self._open_by_name(place, visit)
            return
        self._ask_for_name("LOOKUP", place)
        self._answered(place, parent, visit)

    def _open_by_name(self, place: Place, visit: Visit) -> None:
        """The OPEN of NFS 4 looks up: only what is no file needs a LOOKUP after it. Source: nfs_atomic_open."""
        if place.kind in _PLAIN:
            self._ask("OPEN", OPEN, place, 1)
            visit.opened = place
            self._heard(place, visit)
            return
        self._ask_for_name("OPEN", place)
        if place.kind == MISSING or (place.kind != DIRECTORY and not visit.follows):
            return
        self._ask("LOOKUP", LOOKUP, place, 1)
        self._heard(place, visit)

    def _ask_for_name(self, operation: str, place: Place) -> None:
        self._ask(operation, LOOKUP, place, 1)
        if place.kind == MISSING:
            self._ask("", NEGATIVE, place, 1)

    def _answered(self, place: Place, parent: Place, visit: Visit) -> None:
        """A LOOKUP of NFS 3 brings the directory's attributes too. Source: fs/nfs/nfs3proc.c, __nfs3_proc_lookup."""
        if place.kind != MISSING:
            self._heard(place, visit)
            self._inode(parent).n_asked_of_names += 1
        if not self._v4:
            self._heard(parent, visit)

    def _look_afresh(self, place: Place, name: Name, visit: Visit) -> None:
        """Source: fs/nfs/dir.c, nfs_lookup_revalidate_dentry."""
        assert place.parent is not None
        visit.fresh = place
        self._ask("LOOKUP", LOOKUP, place, 1)
        self._answered(place, place.parent, visit)
        inode = self._inode(place)
        inode.is_access_time_old = False
        self._accept_change(inode)
        name.is_delegated = inode.is_delegated

    def _check_missing(self, place: Place, parent: Place, visit: Visit) -> None:
        """Source: fs/nfs/dir.c, nfs_neg_need_reval."""
        if visit.creates and visit.is_last:
            return
        if self._protocol.lookup_cache != "all":
            self._look_up_new(place, parent, visit)
        else:
            self._check_directory(parent, visit)

    def _check_directory(self, directory: Place, visit: Visit) -> None:
        """A name is good as long as its directory is unchanged. Source: fs/nfs/dir.c, nfs_check_verifier."""
        if self._is_old(self._inode(directory), visit):
            self._get_attributes(directory, visit)

    def _came_with_listing(self, place: Place, parent: Place) -> bool:
        """Source: fs/nfs/dir.c, nfs_prime_dcache."""
        inode = self._inodes.get(parent)
        if inode is None or inode.pages is None or place.kind == MISSING or not self._protocol.readdirplus:
            return False
        if not inode.pages.has_attributes:
            self.not_predictable["LOOKUP"] = "of a large directory some names come with its listing, and some do not"
            return False
        if place not in self._inodes:
            self._inode(place).age.asked_s = inode.pages.asked_s
        return True

    def read_link(self, place: Place, visit: Visit) -> None:
        """Source: fs/nfs/symlink.c, nfs_get_link: the age is checked first, then the text is read once."""
        inode = self._inode(place)
        if self._is_old(inode, visit):
            self._get_attributes(place, visit)
        if not inode.has_text:
            inode.has_text = True
            self._ask("READLINK", READLINK, place, 1)
            if not self._v4:
                self._heard(place, visit)

    # -- files ------------------------------------------------------------------------------------------------------

    def open(self, place: Place, visit: Visit) -> None:
        """An open asks whether the file is unchanged, unless this call has just asked for its name.

        Source: NFS 3 and directories: fs/nfs/dir.c, nfs_lookup_verify_inode; then nfs_permission. Files of NFS 4:
        fs/nfs/nfs4file.c, nfs4_file_open, and fs/nfs/nfs4proc.c, can_open_delegated.
        """
        if place.kind == SPECIAL:
            return
        if place.kind != DIRECTORY and self._v4:
            self._open_v4(place, visit)
        else:
            if visit.fresh is not place and self._protocol.close_to_open:
                self._get_attributes(place, visit)
            self._permit(place, visit)
        if visit.truncates and place.kind != DIRECTORY:
            self.set_attributes(place, visit)  # fs/namei.c, handle_truncate
            self._inode(place).was_read = True
        if place.kind == DIRECTORY:
            pages = self._inode(place).pages
            if pages is not None:
                pages.readers.pop(visit.tid, None)
        elif visit.reads:
            self._will_read(place, visit)

    def _open_v4(self, place: Place, visit: Visit) -> None:
        inode = self._inode(place)
        self._use(inode, visit)
        is_by_name = visit.opened is place
        if visit.writes:
            self._give_back(place)  # nfs4_return_incompatible_delegation
        if not inode.is_delegated:
            if not is_by_name:
                # the client has the file's handle; only NFS 4.0 has to name it (nfs4_map_atomic_open_claim)
                self._ask("OPEN" if self._protocol.version == "4.0" else "OPEN_NOATTR", OPEN, place, 1)
            self._ask("CLOSE", OTHER, place, 1)
            self._heard(place, visit)
            inode.is_access_time_old = inode.is_changed = False  # its answer has all attributes
            # nfsd lends what it can read itself (fs/nfsd/nfs4state.c, nfs4_set_delegation: find_readable_file)
            if self._protocol.delegations and visit.reads:
                inode.is_delegated = True
                if is_by_name:
                    self._names[place].is_delegated = True
        inode.users.add(visit.user)  # the OPEN asks for rights too (nfs4_opendata_access)

    def _use(self, inode: Inode, visit: Visit) -> None:
        """A lent file that is not used for long may have gone back meanwhile, and then costs an open, or its attributes, again.

        Source: fs/nfs/nfs4renewd.c, nfs4_renew_state, nfs4_schedule_state_renewal; fs/nfs/delegation.c,
        nfs_expire_unreferenced_delegations, nfs4_do_check_delegation (NFS_DELEGATION_REFERENCED).
        """
        if inode.is_delegated and visit.now_s - inode.used_s > LENT_UNUSED_S:
            for operation in ("OPEN_NOATTR", "CLOSE", "DELEGRETURN"):
                self.not_predictable[operation] = _GIVEN_BACK
        inode.used_s = visit.now_s

    def _will_read(self, place: Place, visit: Visit) -> None:
        """The first who opens a file to read it fetches it; NFS 4 then no longer knows its access time.

        A READ of NFS 3 brings the attributes (fs/nfs/nfs3proc.c, nfs3_read_done), one of NFS 4 does not
        (nfs4_read_done_cb), but a CLOSE without a delegation asks for them (nfs4_close_prepare).
        """
        inode = self._inode(place)
        if self._protocol.file_ages_s[0] == 0 and not inode.is_delegated and place.size != 0:
            self.not_predictable["GETATTR"] = _NO_CACHE
        if inode.was_read or place.size == 0:
            return
        inode.was_read = True
        if not self._v4:
            return
        if is_read_at_once(place, visit):
            inode.is_access_time_old = inode.is_mapped = True
        elif self._protocol.delegations:
            self._to_be_read.append(inode)

    def next_call(self) -> None:
        """A call that is no status begins: what was opened before has been read by now."""
        for inode in self._to_be_read:
            inode.is_access_time_old = True
        self._to_be_read.clear()

    def status(self, place: Place, visit: Visit, *, access_time: bool) -> None:
        """Source: fs/nfs/inode.c, nfs_getattr."""
        if place.kind == MISSING:
            return
        inode = self._inode(place)
        self._use(inode, visit)
        if place.parent is not None:
            parent = self._inodes.get(place.parent)
            if parent is not None:
                parent.n_asked_of_names += 1
        if self._is_old(inode, visit):
            self._get_attributes(place, visit)
            return
        is_kept = self._protocol.directory_access_times if place.kind == DIRECTORY else self._protocol.file_access_times
        if access_time and is_kept and inode.is_access_time_old:
            if place.kind != DIRECTORY:
                self._n_after_read += 1
                self.not_predictable["GETATTR"] = _AFTER_READ.format(n=self._n_after_read)
            self._get_attributes(place, visit)
            if inode.is_mapped:
                inode.is_mapped = False
                self._to_be_read.append(inode)

    def rights(self, place: Place, visit: Visit) -> None:
        """Source: fs/nfs/dir.c, nfs_permission with MAY_ACCESS or MAY_CHDIR."""
        if place.kind != MISSING:
            self._permit(place, visit)

    def space(self, place: Place, visit: Visit) -> None:
        """Source: fs/nfs/super.c, nfs_statfs: it asks each time."""
        operation = "STATFS" if self._v4 else "FSSTAT"
        self._ask(operation, OTHER, place, 1)
        self.not_predictable[operation] = "those of open descriptors (fstatfs) are in no recording"

    # -- directories ------------------------------------------------------------------------------------------------

    def list(self, place: Place, listing: Listing, visit: Visit) -> None:
        """One getdents: the client reads on only where its pages end.

        Source: fs/nfs/dir.c, nfs_readdir, find_and_lock_cache_page (nfs_grow_dtsize), nfs_use_readdirplus.
        """
        inode = self._inode(place)
        if self._is_old(inode, visit):
            self._get_attributes(place, visit)
        if inode.pages is None:
            inode.pages = Pages(asked_s=visit.now_s)
        pages = inode.pages
        n_given = pages.readers.get(listing.tid, 0)
        n_wanted = n_given + listing.n_entries
        if listing.n_bytes:
            pages.readers[listing.tid] = n_wanted
        else:
            pages.readers.pop(listing.tid, None)
        is_plus = self._protocol.readdirplus and (n_given == 0 or inode.n_asked_of_names > HITS_FOR_PLUS)
        inode.n_asked_of_names = 0
        while not pages.is_whole and pages.n_names < n_wanted:
            pages.n_names += names_per_answer(listing, is_v4=self._v4, is_plus=is_plus) * pages.n_next
            if pages.n_names < n_wanted or pages.n_next > 1:
                self.not_predictable["READDIRPLUS" if is_plus and not self._v4 else "READDIR"] = _SEVERAL_ANSWERS
            pages.n_next = min(pages.n_next * 2, max(1, self._protocol.read_bytes // FIRST_ANSWER_BYTES))
            self._read_directory(place, inode, visit, is_plus=is_plus)
        # what is left of the buffer would have held another name
        pages.is_whole = pages.is_whole or listing.n_bytes < listing.buffer - 280

    def _read_directory(self, place: Place, inode: Inode, visit: Visit, *, is_plus: bool) -> None:
        assert inode.pages is not None
        self._ask("READDIRPLUS" if is_plus and not self._v4 else "READDIR", READDIR, place, 1)
        inode.pages.has_attributes = inode.pages.has_attributes and is_plus
        if self._v4:
            inode.is_access_time_old = True  # fs/nfs/nfs4proc.c, _nfs4_proc_readdir
        else:
            self._heard(place, visit)
        if is_plus:
            for child in place.children.values():
                if child in self._names and child.kind != MISSING:
                    self._heard(child, visit)

    # -- changes ----------------------------------------------------------------------------------------------------

    def _give_back(self, place: Place) -> None:
        """Return a lent file. Source: fs/nfs/delegation.c, nfs4_inode_return_delegation."""
        inode = self._inodes.get(place)
        if inode is not None and inode.is_delegated:
            inode.is_delegated = False
            name = self._names.get(place)
            if name is not None:
                name.is_delegated = False
            self._ask("DELEGRETURN", OTHER, place, 1)

    def set_attributes(self, place: Place, visit: Visit) -> None:
        """Source: fs/nfs/inode.c, nfs_setattr, nfs_setattr_update_inode; fs/nfs/nfs4proc.c, nfs4_proc_setattr."""
        if place.kind == MISSING:
            return
        sets_rights = visit.syscall.lstrip("lf").startswith(("chmod", "chown"))
        inode = self._inode(place)
        if sets_rights:
            self._give_back(place)
            inode.users.clear()
        self._ask("SETATTR", CHANGE, place, 1)
        inode.is_changed, inode.was_read = False, False
        if self._v4:
            self.not_predictable[RIGHTS] = _AFTER_CHANGE
        self._heard(place, visit)

    def change(self, directory: Place | None, place: Place, visit: Visit, *, gone: Place | None) -> None:
        """A name was made, removed or moved: the listing has to be read again, the attributes came with the answer."""
        stem = visit.syscall.removesuffix("2").removesuffix("at").removesuffix("at")
        operation = CHANGES["4" if self._v4 else "3"].get(stem, "SETATTR")
        if gone is not None and operation in ("RENAME", "REMOVE"):
            self._give_back(gone)  # nfs4_proc_unlink_setup, nfs4_proc_rename_setup
        inode = self._inode(place) if place.kind != MISSING else None
        if inode is not None and operation == "RENAME":
            self._give_back(place)
            inode.is_changed = True  # fs/nfs/dir.c, nfs_rename
        self._ask(operation, CHANGE, place, 1)
        if operation == "OPEN":
            self._ask("CLOSE", OTHER, place, 1)
        if inode is not None and visit.opens:
            inode.was_read = True  # what the run has written itself it need not fetch
            if visit.is_exclusive:
                # the times in which the server kept the request's mark are set (nfs3_proc_create, nfs4_exclusive_attrset)
                self._ask("SETATTR", CHANGE, place, 1)
        if inode is not None and stem == "symlink":
            inode.has_text = True  # fs/nfs/dir.c, nfs_symlink
        self._names[place] = Name()
        if directory is not None:
            above = self._inode(directory)
            above.pages = None
            above.age.limit_s = self._protocol.directory_ages_s[0]
            above.age.asked_s = visit.now_s
