package dropreason

// One object serves amd64 and arm64. It is committed: building Hexapod needs no clang.
//
//go:generate go tool -modfile=../../tools/go.mod bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -no-global-types -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror" drops ../../bpf/drops.c -- -I../../bpf/include
