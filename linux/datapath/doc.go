// Package datapath loads the eBPF programs of this host, hangs them on its links and fills their maps.
//
// What really hangs on links are stubs that never change. They call whatever generation of programs is in one pinned slot, so
// a release is switched in one write, for all links at once. Maps and slot are pinned (package pin): everything goes on without
// a process.
package datapath
