package nat64

// One object serves amd64 and arm64. The objects are committed: building Hexapod needs no clang.
//
//go:generate go tool -modfile=../../tools/go.mod bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -no-global-types -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror" nat64 ../../bpf/nat64.c -- -I../../bpf/include
//go:generate go tool -modfile=../../tools/go.mod bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -no-global-types -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror" nat64host ../../bpf/nat64_host.c -- -I../../bpf/include
