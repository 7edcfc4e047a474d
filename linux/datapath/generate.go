package datapath

// One object serves amd64 and arm64. The objects are committed: building Hexapod needs no clang.
//
//go:generate go run ./whyheader ../../bpf/include/why.h
//go:generate go tool -modfile=../../tools/go.mod bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -no-global-types -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror" stub ../../bpf/stub.c -- -I../../bpf/include
//go:generate go tool -modfile=../../tools/go.mod bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -no-global-types -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror" judge ../../bpf/judge.c -- -I../../bpf/include
