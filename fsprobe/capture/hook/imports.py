# Where imports are marked: what importlib calls before and after it loads a module.
#
# No module: sitecustomize.py executes this text in the name space of its functions (State, mark, note, get_frame, ...) and under
# importlib's file name, so that the interpreter strips these frames from a traceback. CPython 3.6 and later.


def mark_imports(importlib):
    # Where a load begins and ends differs by version, and is told by what `_find_and_load` uses, not by the version's number.
    # Marking in what it calls before and after, and not around the load, adds no frame to the stack of what is loaded: neither
    # to its tracebacks nor to its depth. Where there is neither, no mark comes, and the report says so.
    importlib._fsprobe = True
    code = getattr(getattr(importlib, "_find_and_load", None), "__code__", None)
    if hasattr(importlib, "_ModuleLockManager"):
        importlib._ModuleLockManager = unless_watched(managed(importlib._ModuleLockManager), importlib._ModuleLockManager)
    if hasattr(importlib, "_get_module_lock") and "_ModuleLockManager" not in getattr(code, "co_names", ()):
        unloaded = getattr(importlib, "_NEEDS_LOADING", None)
        try:
            sys.addaudithook(unheard.pop)
        except Exception:  # one that was there before refuses it
            unheard.clear()
        original = importlib._get_module_lock
        importlib._get_module_lock = unless_watched(locked(original, importlib.__dict__, unloaded), original)


def unless_watched(ours, original):
    # Calls what is ours, or what was there, where the target watches its own calls (sys.setprofile, sys.settrace, sys.monitoring): it must see none
    # that it would not have alone. So what decides is no function of Python either, but a chain of iterators.
    class Chosen:
        __slots__ = ()
        __call__ = chosen(ours, original)

    return Chosen()


def chosen(ours, original):
    pick = map((counted(original), ours).__getitem__, is_unwatched)
    return property(partial(next, pick))


def counted(original):
    # calls it, and counts that in the memory that is shared
    if Room.memory is None:
        return original
    tell = partial(Room.memory.__setitem__, slice(WATCHED, WATCHED + 8))
    told = map(tell, map(methodcaller("to_bytes", 8, "little"), n_watched))

    class Counted:
        __slots__ = ()
        __call__ = property(partial(next, map(itemgetter(1), zip(told, repeat(original)))))

    return Counted()


n_watched = count(1)
is_none = partial(is_, None)
is_unwatched = map(and_, map(is_none, starmap(sys.getprofile, repeat(()))), map(is_none, starmap(sys.gettrace, repeat(()))))
if hasattr(sys, "monitoring"):
    # PEP 669: cProfile and others get told of every call from CPython 3.12 on
    n_listened = map(sum, map(map, repeat(sys.monitoring.get_events), repeat((0, 1, 2, 3, 4, 5))))
    is_unwatched = map(and_, is_unwatched, map(is_, n_listened, repeat(0)))


def managed(original):
    # up to CPython 3.14 importlib holds one of these while it loads a module
    class _ModuleLockManager(original):
        def __enter__(self):
            result = original.__enter__(self)
            self.marked = None
            try:
                if self._name not in modules:
                    self.marked = self._name
                    mark(">", self._name)
            except BaseException as error:
                # a RecursionError of ours too: what is imported here goes deeper than a mark, and to go on after one can end an
                # older interpreter
                if is_own(error) and not isinstance(error, RecursionError):
                    self.marked = None
                else:
                    self.__exit__()
                    raise
            return result

        def __exit__(self, *args, **kwargs):
            try:
                if self.marked is not None:
                    mark("<", self.marked)
            except BaseException as error:
                if not is_own(error):
                    raise
            finally:
                original.__exit__(self, *args, **kwargs)

    return _ModuleLockManager


def locked(get_lock, importlib, unloaded):
    # From CPython 3.15 on it takes the module's lock itself, once the packages above the module are loaded, and takes the same
    # lock where it only waits for another thread.
    def _get_module_lock(name):
        lock = get_lock(name)
        try:
            if ADDED not in unheard:
                # without the packages above, and without where a lazy one was used
                early = State.early.get(get_ident())
                key = early[-1] if early and early[-1][0] == name else (name, 0)
                return Load(lock, key, [], None) if name not in modules else lock
            frame = get_frame(1)
            if frame.f_globals is importlib and frame.f_code.co_name == "_find_and_load":
                if frame.f_locals.get("module", unloaded) is unloaded:
                    return Load(lock, (name, identity(frame)), *above(frame.f_back, importlib))
        except BaseException as error:
            if not is_own(error) or isinstance(error, RecursionError):
                raise
        return lock

    return _get_module_lock


# To look at a frame is an audit event, which a hook of the target would hear, or refuse. So one of ours waits for the first of
# them: a method of a dictionary, which runs no code of Python, and gives that name away when it is heard.
ADDED = "sys.addaudithook"
unheard = {ADDED: None}


def above(frame, importlib):
    # The modules whose packages are loaded first, outermost first (`a.b.c` and `a.b` while `a` is loaded), and who asked. Each
    # with the frame that loads it: `a` may import the same module again.
    waiting = []
    while frame is not None and frame.f_globals is importlib and frame.f_code.co_name != "_find_and_load_unlocked":
        if frame.f_code.co_name == "_resolve_parents":
            waiting.insert(0, (frame.f_locals["name"], identity(frame.f_back)))
        frame = frame.f_back
    return waiting, frame


class Load:
    # Stands for a module's lock while that is loaded. A module that waits for its packages has begun with the first of them, as
    # `-X importtime` and older versions have it: its begin is marked there, and it stays in State.early until its own lock.
    __slots__ = ("lock", "key", "waiting", "use", "handled", "marked")

    def __init__(self, lock, key, waiting, frame):
        self.lock = lock
        self.key = key
        self.waiting = waiting
        self.use = used_at((waiting + [key])[0][0], frame)
        self.handled = identity(exc_info()[1])
        self.marked = False

    def acquire(self):
        try:
            result = self.lock.acquire()
        except BaseException:
            self.end(True)
            raise
        try:
            self.begin()
        except BaseException as error:
            if not is_own(error) or isinstance(error, RecursionError):
                try:
                    self.end(True)
                finally:
                    self.lock.release()
                raise
        return result

    def begin(self):
        early = State.early.setdefault(get_ident(), [])
        if early and early[-1] == self.key:
            self.marked = True
            early.pop()
        elif self.key[0] not in modules:
            if not self.waiting or early[-len(self.waiting):] != self.waiting:
                if self.use:
                    used(self.use)
                for key in self.waiting:
                    early.append(key)
                    mark(">", key[0])
            self.marked = True
            mark(">", self.key[0])

    def end(self, failed):
        # what fails takes along the modules that wait for it
        early = State.early.get(get_ident())
        if self.marked:
            self.marked = False
            mark("<", self.key[0])
        elif failed and early and early[-1] == self.key:
            mark("<", early.pop()[0])
        while failed and early and self.waiting and early[-1] == self.waiting[-1]:
            self.waiting.pop()
            mark("<", early.pop()[0])
        if not early:
            State.early.pop(get_ident(), None)

    def release(self):
        try:
            self.end(identity(exc_info()[1]) != self.handled or self.key[0] not in modules)
        except BaseException as error:
            if not is_own(error):
                raise
        finally:
            self.lock.release()

    def __getattr__(self, name):
        return getattr(self.lock, name)


def used_at(name, frame):
    # PEP 810: a module that was imported lazily is loaded at its first use, which is neither an import nor a call. `lazy import
    # a.b` loads `a` at the use of that name
    try:
        if not no_use or frame is None or frame.f_code.co_code[frame.f_lasti] in no_use:
            return ""
        lazy = sys.lazy_modules
        if name not in lazy and not [other for other in tuple(lazy) if other.startswith(name + ".")]:
            return ""
        user = frame.f_globals.get("__name__")
        if type(user) is not str or not user.replace(".", "_").isidentifier():
            user = "?"
        return " %d %s %s" % (frame.f_lineno, user, name) if name.replace(".", "_").isidentifier() else ""
    except BaseException as error:
        if not is_own(error) or isinstance(error, RecursionError):
            raise
        return ""


no_use = set()
if hasattr(sys, "lazy_modules"):

    def learn(*args, **kwargs):
        frame = get_frame(1)
        no_use.add(frame.f_code.co_code[frame.f_lasti])
        return ()

    exec(
        compile("import a\nf()\nf(a=1)\nf(*a)\n", "<frozen importlib._bootstrap>", "exec"),
        {"__builtins__": {"__import__": learn, "__lazy_import__": learn, "f": learn}},
    )
