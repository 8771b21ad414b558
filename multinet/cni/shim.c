/* The CNI plugin executable: carries one call to the node agent, and its answer back.
 *
 * It sends the CNI_* environment and stdin over a unix socket as netstrings, prints what comes back and
 * exits as told (multinet/cni/wire.py has the protocol). It decides nothing, so that all CNI logic is in
 * one place; while the agent is away it answers VERSION by itself, and everything else with the CNI error
 * "try again later". plugin.py does the same; tests/cni/test_plugin_contract.py is the contract of both.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_PATH "/run/multinet-agent/agent.sock"
#define SUPPORTED "[\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]"
#define NEWEST "1.1.0"
#define LIMIT (16u * 1024 * 1024)

extern char **environ;

struct buffer {
  char *data;
  size_t length, room;
};

static char version[16];

static void append(struct buffer *to, const void *data, size_t length) {
  if (length > to->room - to->length) {
    to->room = (to->length + length) * 2 + 4096;
    to->data = realloc(to->data, to->room);
    if (to->data == NULL) abort();
  }
  memcpy(to->data + to->length, data, length);
  to->length += length;
}

static void netstring(struct buffer *to, const void *data, size_t length) {
  char head[32];
  append(to, head, (size_t)snprintf(head, sizeof head, "%zu:", length));
  append(to, data, length);
  append(to, ",", 1);
}

static int read_all(int fd, struct buffer *to) {
  char chunk[65536];
  for (;;) {
    ssize_t count = read(fd, chunk, sizeof chunk);
    if (count == 0) return 0;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return -1;
    append(to, chunk, (size_t)count);
    if (to->length > LIMIT) return errno = EMSGSIZE, -1;
  }
}

static int write_all(int fd, const char *data, size_t length) {
  while (length > 0) {
    ssize_t count = fd == STDOUT_FILENO ? write(fd, data, length) : send(fd, data, length, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return -1;
    data += count;
    length -= (size_t)count;
  }
  return 0;
}

/* The value of the last top-level "cniVersion" in a JSON object, if it is a plain version; else as before.
 * Only strings and nesting are understood: that is all it takes to find a key of the outermost object. */
static void find_version(const char *at, const char *end) {
  const char *string = NULL;
  int depth = 0, is_key = 0, found = 0;
  size_t length = 0;
  for (; at < end; at++) {
    if (*at == '"') {
      string = at + 1;
      for (at++; at < end && *at != '"'; at++)
        if (*at == '\\') at++;
      if (at >= end) return;
      length = (size_t)(at - string);
      if (found && length > 0 && length < sizeof version && strspn(string, "0123456789.") == length) {
        memcpy(version, string, length);
        version[length] = 0;
      }
      found = 0;
      is_key = depth == 1;
    } else if (*at == ':') {
      found = is_key && length == 10 && memcmp(string, "cniVersion", 10) == 0;
    } else if (*at == '{' || *at == '[') {
      depth++, found = 0;
    } else if (*at == '}' || *at == ']') {
      depth--, found = 0;
    } else if (*at == ',') {
      found = is_key = 0;
    }
  }
}

static int answer(int status, struct buffer *out) {
  return write_all(STDOUT_FILENO, out->data, out->length) < 0 ? 1 : status;
}

/* Parts of a path that JSON would need escaped are not worth it: they are shown as '?'. */
static const char *printable(const char *path) {
  static char shown[201];
  size_t at = 0;
  for (; at < sizeof shown - 1 && path[at]; at++)
    shown[at] = (signed char)path[at] < 0x20 || path[at] == '"' || path[at] == '\\' || path[at] == 0x7f ? '?' : path[at];
  shown[at] = 0;
  return shown;
}

static int agent_away(const char *command, const char *path, const char *why) {
  struct buffer out = {0};
  char text[1024];
  int known = strlen(version) == 5 && strstr(SUPPORTED, version) != NULL;
  const char *spoken = known ? version : NEWEST;
  int length;
  if (strcmp(command, "VERSION") == 0) {
    length = snprintf(text, sizeof text, "{\"cniVersion\":\"%s\",\"supportedVersions\":%s}\n", spoken, SUPPORTED);
    append(&out, text, (size_t)length);
    return answer(0, &out);
  }
  length = snprintf(text, sizeof text,
                    "{\"cniVersion\":\"%s\",\"code\":%d,\"msg\":\"the multinet node agent can't be reached\","
                    "\"details\":\"%s (socket %s); is the agent running on this node?\"}\n",
                    spoken, strcmp(command, "STATUS") == 0 ? 50 : 11, why, printable(path));
  append(&out, text, (size_t)length);
  return answer(1, &out);
}

/* Reads "<code>:<stdout>": two netstrings that fill the reply exactly. */
static int relay(struct buffer *reply, struct buffer *out) {
  char *at = reply->data, *end = reply->data + reply->length;
  long code = 1;
  for (int part = 0; part < 2; part++) {
    size_t length = 0, digits = 0;
    for (; at < end && *at >= '0' && *at <= '9' && digits < 8; at++, digits++) length = length * 10 + (size_t)(*at - '0');
    if (digits == 0 || at >= end || *at++ != ':' || length >= (size_t)(end - at) || at[length] != ',') return -1;
    if (part == 0) {
      if (length == 0 || length > 3 || strspn(at, "0123456789") < length) return -1;
      code = strtol(at, NULL, 10);
    } else {
      append(out, at, length);
    }
    at += length + 1;
  }
  return at == end && code <= 255 ? (int)code : -1;
}

int main(void) {
  struct buffer input = {0}, request = {0}, reply = {0}, out = {0};
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const char *command = getenv("CNI_COMMAND") ? getenv("CNI_COMMAND") : "";
  const char *path = getenv("MULTINET_AGENT_SOCKET") ? getenv("MULTINET_AGENT_SOCKET") : "";
  if (*path == 0) path = SOCKET_PATH;

  append(&input, "", 0);
  if (read_all(STDIN_FILENO, &input) < 0 && errno != EBADF) return agent_away(command, "", "stdin can't be read");
  find_version(input.data, input.data + input.length);

  netstring(&request, "CNI1", 4);
  for (char **variable = environ; *variable != NULL; variable++)
    if (strncmp(*variable, "CNI_", 4) == 0) netstring(&request, *variable, strlen(*variable));
  netstring(&request, "", 0);
  netstring(&request, input.data, input.length);

  if (strlen(path) >= sizeof address.sun_path) return agent_away(command, "", "the socket's path is too long");
  strcpy(address.sun_path, path);
  int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connection < 0) return agent_away(command, path, strerror(errno));
  if (connect(connection, (struct sockaddr *)&address, sizeof address) < 0)
    return agent_away(command, path, strerror(errno));
  if (write_all(connection, request.data, request.length) < 0) return agent_away(command, path, strerror(errno));
  if (read_all(connection, &reply) < 0) return agent_away(command, path, strerror(errno));
  int code = relay(&reply, &out);
  if (code < 0) return agent_away(command, path, "the agent ended the connection without an answer");
  return answer(code, &out);
}
