package connect

// The objects are committed: building Hexapod needs no clang. The twin is for tests.
//
//go:generate go tool -modfile=../../../tools/go.mod bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -no-global-types -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror" connect ../../../bpf/connect.c -- -I../../../bpf/include
//go:generate go tool -modfile=../../../tools/go.mod bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -no-global-types -output-suffix _test -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror" twin ../../../bpf/connect_twin.c -- -I../../../bpf/include
