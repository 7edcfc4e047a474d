// Package agent is the daemon of a host: it owns the snapshot of what all sources say and drives the kernel to what follows from it.
//
// Sources write sections (configuration, endpoints, link facts); model/desired derives from the snapshot what the host should
// hold; runners make it true, one per kernel table. A CNI ADD does not wait for them: it makes its own link, route and
// neighbour and leaves the rest to the runners. On exit nothing is removed, so endpoints keep talking without an agent.
package agent
