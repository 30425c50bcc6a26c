/* The same as sitecustomize.py for code that is not Python: preloaded, it stands before libc. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void record(const char *event, const char *host) {
    int log = open(getenv("NETWORK_LOG"), O_WRONLY | O_APPEND | O_CREAT, 0600);
    dprintf(log, "%s %s\n", event, host);
    close(log);
}

static int refused(const char *event, const struct sockaddr *to) {
    char host[INET6_ADDRSTRLEN] = "";
    if (to != NULL && to->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)to)->sin_addr, host, sizeof host);
    else if (to != NULL && to->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)to)->sin6_addr, host, sizeof host);
    if (host[0] == 0 || strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0)
        return 0;
    record(event, host);
    errno = ENETUNREACH;
    return 1;
}

static int is_local(const char *name) {
    return name == NULL || name[0] == 0 || strcmp(name, "localhost") == 0 ||
           strncmp(name, "127.", 4) == 0 || strcmp(name, "::1") == 0 ||
           strcmp(name, "0.0.0.0") == 0 || strcmp(name, "::") == 0;
}

#define LIBC(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
    if (is_local(name))
        return LIBC(getaddrinfo)(name, service, hints, found);
    record("getaddrinfo", name);
    return EAI_NONAME;
}

struct hostent *gethostbyname(const char *name) {
    if (is_local(name))
        return LIBC(gethostbyname)(name);
    record("gethostbyname", name);
    h_errno = HOST_NOT_FOUND;
    return NULL;
}

int connect(int socket, const struct sockaddr *to, socklen_t size) {
    return refused("connect", to) ? -1 : LIBC(connect)(socket, to, size);
}

ssize_t sendto(int socket, const void *data, size_t length, int flags, const struct sockaddr *to,
               socklen_t size) {
    return refused("sendto", to) ? -1 : LIBC(sendto)(socket, data, length, flags, to, size);
}

ssize_t sendmsg(int socket, const struct msghdr *message, int flags) {
    return refused("sendmsg", message->msg_name) ? -1 : LIBC(sendmsg)(socket, message, flags);
}
