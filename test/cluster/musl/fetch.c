// A client of the C library musl, whose resolver is another one than that of glibc: it asks for A and AAAA at once, takes the first answer
// of any server, and gives a name up when one of the two questions fails.
//
//   fetch lookup NAME            prints the addresses of a name, in the order in which a program would try them
//   fetch get NAME PORT PATH     prints what http://NAME:PORT/PATH answers, headers too
//   fetch wait                   does nothing, until it is told to end
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// addresses of a name; it tells why there are none.
static struct addrinfo *resolve(const char *name, const char *port)
{
	struct addrinfo want = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list;
	int error = getaddrinfo(name, port, &want, &list);
	if (error) {
		fprintf(stderr, "%s: %s\n", name, gai_strerror(error));
		return NULL;
	}
	return list;
}

static int lookup(const char *name)
{
	struct addrinfo *list = resolve(name, NULL);
	char text[256];
	for (struct addrinfo *a = list; a; a = a->ai_next)
		if (!getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST))
			puts(text);
	return !list;
}

static int get(const char *name, const char *port, const char *path)
{
	int fd = -1;
	for (struct addrinfo *a = resolve(name, port); a; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype, 0);
		if (fd >= 0 && !connect(fd, a->ai_addr, a->ai_addrlen))
			break;
		perror("connect");
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	if (fd < 0)
		return 1;
	dprintf(fd, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", path, name);
	char buffer[4096];
	ssize_t n;
	while ((n = read(fd, buffer, sizeof buffer)) > 0)
		fwrite(buffer, 1, n, stdout);
	return n < 0;
}

static int wait_for_the_end(void)
{
	sigset_t all;
	int which;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL); // the first process of a pod is ended by no signal that it does not wait for
	do
		sigwait(&all, &which);
	while (which != SIGTERM && which != SIGINT);
	return 0;
}

int main(int n, char **words)
{
	if (n == 3 && !strcmp(words[1], "lookup"))
		return lookup(words[2]);
	if (n == 5 && !strcmp(words[1], "get"))
		return get(words[2], words[3], words[4]);
	if (n == 2 && !strcmp(words[1], "wait"))
		return wait_for_the_end();
	fputs("usage: fetch lookup NAME | get NAME PORT PATH | wait\n", stderr);
	return 2;
}
