// Trees of modules. A node is {id, name, parent, children, own: {...}, sum: {...}, depth, x0, x1}.
function makeNode(name, parent) {
  return { name, parent, children: [], own: {}, sum: {}, depth: parent ? parent.depth + 1 : 0, recorded: null, imports: null, isModule: false };
}

function importerTree(data) {
  const root = makeNode('total', null);
  const nodes = [];
  data.names.forEach((name, i) => {
    const node = makeNode(name, data.parents[i] < 0 ? root : nodes[data.parents[i]]);
    readOwn(node, data, i);
    node.parent.children.push(node);
    nodes.push(node);
  });
  return finish(root, data);
}

// Modules under the packages that their dotted names say; what a package's own module does is in the package's bar.
function nameTree(data) {
  const root = makeNode('total', null);
  const known = new Map();
  const at = (name) => {
    if (known.has(name)) return known.get(name);
    const dot = name.startsWith('(') ? -1 : name.lastIndexOf('.');
    const node = makeNode(name, dot > 0 ? at(name.slice(0, dot)) : root);
    node.parent.children.push(node);
    known.set(name, node);
    return node;
  };
  data.names.forEach((name, i) => {
    const node = name.endsWith('smaller imports)') ? makeNode(name, root) : at(name);
    if (!known.has(name)) root.children.push(node);
    readOwn(node, data, i);
  });
  return finish(root, data);
}

function readOwn(node, data, i) {
  node.isModule = true;
  node.recorded = data.recorded[i];
  node.imports = data.imports[i];
  for (const name of ['calls', 'not_found', 'opens', 'stats', 'time', 'requests']) {
    if (data[name]) node.own[name] = (node.own[name] || 0) + (data[name][i] || 0);
  }
}

// Sums from the leaves up. Without recursion: trees are as deep as import chains are long.
function finish(root, data) {
  const order = [root];
  for (let i = 0; i < order.length; i++) order.push(...order[i].children);
  for (const node of order) for (const name of ['calls', 'not_found', 'opens', 'stats', 'time', 'requests']) node.sum[name] = data[name] ? node.own[name] || 0 : null;
  for (const node of order.slice(1).reverse()) {
    for (const name of Object.keys(node.sum)) if (node.sum[name] !== null) node.parent.sum[name] += node.sum[name];
  }
  order.forEach((node, i) => { node.id = i; });
  return { root, order };
}

function place(tree, measure) {
  tree.root.x0 = 0;
  tree.root.x1 = 1;
  const total = tree.root.sum[measure] || 1;
  for (const node of tree.order) {
    node.children.sort((a, b) => b.sum[measure] - a.sum[measure] || (a.name < b.name ? -1 : 1));
    let x = node.x0;
    for (const child of node.children) {
      child.x0 = x;
      x += child.sum[measure] / total;
      child.x1 = x;
    }
  }
}

function topName(node) {
  return node.name.startsWith('(') ? node.name : node.name.split('.', 1)[0];
}
