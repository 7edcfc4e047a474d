// Package objects reads and writes objects of a Kubernetes API server as the structs of api/v1alpha1 and small ones of its own.
//
// There is no scheme, no code generation and no cache that holds more than is used: an object is decoded into a struct that
// names the fields somebody reads, and everything else of it is forgotten. What remains of the work of a client is here: lists
// in pages, watches that take up where they ended, and the rule that half a list is no list.
package objects
