package arch

//go:generate go run ./mapdoc ../docs/map.md
//go:generate go run ./chartgen
