/* The node's one helper: makes sandboxes, is their PID 1, runs and watches containers.
 *
 *   pause sandbox [--host-network] [--etc DIR] HOSTNAME ID
 *                                            new net, pid, mount, uts, ipc namespaces; prints the PID
 *   pause run [--mounts FILE] TARGET PREFIX CWD -- ARGV...
 *                                            container in TARGET's namespaces, watched by a monitor
 *   pause exec [-t] TARGET CWD -- ARGV...    command in TARGET's namespaces on this terminal
 *   pause idle                               sleeps until SIGTERM: the container without a command
 *
 * The hostname, hosts and resolv.conf in DIR cover those which are in /etc.
 *
 * With --mounts the container gets a mount namespace of its own, in which the steps in FILE are done first.
 * A step is three texts with a NUL after each: `tmpfs PATH -`, `dir PATH -`, `file PATH -`, `link TEXT PATH`,
 * `bind SOURCE PATH` (with what is mounted below), `same SOURCE PATH` (a bind, unless the source has vanished),
 * `ro PATH -`, `root PATH -` (becomes /). mounts.py plans them.
 *
 * Sandbox and monitor leave their parent (setsid, orphaned to the lab's init), so that they live on when
 * the kubelet restarts. ID and PREFIX are in their command lines: that is how a restarted kubelet tells
 * them from a stranger that got the same PID.
 *
 * Files of `run`: PREFIX.log (lines `<RFC 3339 time> stdout|stderr F|P <text>`, the CRI log format; at LOG_LIMIT
 * bytes it becomes PREFIX.old, in place of an older one, and a new one begins),
 * PREFIX.started ("<monitor pid> <container pid> <unix time>"), PREFIX.exit ("<code> <signal> <unix time>",
 * complete when it exists). `run` prints "<monitor pid> <container pid>" once the command was executed, and
 * exits 128 with the reason on stderr when it could not be.
 *
 * pause.py behaves identically; tests/kubelet/test_pause.py is the contract of both.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINE 16384
#define LOG_LIMIT (10 << 20)
#define CANNOT_START 128

static const char *const NAMESPACES[] = {"net", "uts", "ipc", "mnt"}; /* mnt last: it changes the paths */
enum { NS_COUNT = 4 };

struct target {
  int pid_ns; /* applies to children only, so that the monitor stays outside */
  int ns[NS_COUNT];
};

/* In one write, which a pipe passes on whole: who reads a reason reads once, and musl's dprintf and stderr
 * write a text in pieces. */
__attribute__((format(printf, 2, 3))) static void tell(int fd, const char *format, ...) {
  char text[PIPE_BUF];
  va_list values;
  va_start(values, format);
  int n = vsnprintf(text, sizeof text, format, values);
  va_end(values);
  if (n >= (int)sizeof text) n = sizeof text - 1;
  if (n > 0 && write(fd, text, n) != n) return; /* nobody listens any more */
}

static int die(int status, const char *what) {
  tell(2, "%s: %s\n", what, strerror(errno));
  return status;
}

static int usage(void) {
  fputs("usage: pause sandbox [--host-network] [--etc DIR] HOSTNAME ID |"
        " run [--mounts FILE] TARGET PREFIX CWD -- ARGV... | exec [-t] TARGET CWD -- ARGV... | idle\n", stderr);
  return 2;
}

/* ---- PID 1 of the sandbox ---- */

static void reap_until_term(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, NULL);
  for (;;) {
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
    int number = sigwaitinfo(&set, NULL);
    if (number == SIGTERM || number == SIGINT) _exit(0);
  }
}

static void null_stdio(void) {
  int fd = open("/dev/null", O_RDWR);
  for (int i = 0; i < 3; i++) dup2(fd, i);
  if (fd > 2) close(fd);
}

static int cover_etc(const char *directory) {
  static const char *const names[] = {"hostname", "hosts", "resolv.conf"};
  char source[4096], target[64];
  for (int i = 0; i < 3; i++) {
    snprintf(source, sizeof source, "%s/%s", directory, names[i]);
    snprintf(target, sizeof target, "/etc/%s", names[i]);
    if (access(source, F_OK) || access(target, F_OK)) continue;
    if (mount(source, target, NULL, MS_BIND, NULL)) return -1;
  }
  return 0;
}

static const char *furnish(const char *hostname, int host_network, const char *etc) {
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) return "make mounts private";
  /* The node's bind mounts of other sandboxes' network namespaces would keep those alive from in here. */
  umount2("/run/netns", MNT_DETACH);
  if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL)) return "mount /proc";
  if (!host_network) /* only /sys/class/net hangs on it, so a kernel that refuses it is no reason to stop */
    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL);
  if (!host_network && sethostname(hostname, strlen(hostname))) return "set the hostname";
  if (etc && cover_etc(etc)) return "cover the files in /etc";
  return NULL;
}

static int sandbox(int argc, char **argv) {
  int host_network = argc > 2 && !strcmp(argv[2], "--host-network");
  argc -= host_network;
  argv += host_network;
  const char *etc = argc == 6 && !strcmp(argv[2], "--etc") ? argv[3] : NULL;
  if (etc) argc -= 2, argv += 2;
  if (argc != 4) return usage();
  int ready[2], flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC;
  if (!host_network) flags |= CLONE_NEWNET | CLONE_NEWUTS;
  if (pipe2(ready, O_CLOEXEC)) return die(1, "pipe");
  if (unshare(flags)) return die(1, "unshare");
  pid_t pid = fork();
  if (pid < 0) return die(1, "fork");
  if (pid == 0) {
    setsid();
    const char *failed = furnish(argv[2], host_network, etc);
    char text[256];
    int n = failed ? snprintf(text, sizeof text, "%s: %s", failed, strerror(errno)) : snprintf(text, 3, "ok");
    if (chdir("/") || write(ready[1], text, n) != n || failed) _exit(1);
    close(ready[0]);
    close(ready[1]);
    null_stdio();
    reap_until_term();
  }
  close(ready[1]);
  char text[256] = {0};
  ssize_t n = read(ready[0], text, sizeof text - 1);
  if (n == 2 && !strcmp(text, "ok")) {
    printf("%d\n", pid);
    return 0;
  }
  fprintf(stderr, "%s\n", n > 0 ? text : "the sandbox process died");
  return 1;
}

/* ---- entering a sandbox ---- */

static int open_target(const char *pid, struct target *target) {
  char path[64];
  for (int i = 0; i < NS_COUNT; i++) {
    snprintf(path, sizeof path, "/proc/%s/ns/%s", pid, NAMESPACES[i]);
    target->ns[i] = open(path, O_RDONLY | O_CLOEXEC);
    if (target->ns[i] < 0) return die(CANNOT_START, path);
  }
  snprintf(path, sizeof path, "/proc/%s/ns/pid", pid);
  target->pid_ns = open(path, O_RDONLY | O_CLOEXEC);
  return target->pid_ns < 0 ? die(CANNOT_START, path) : 0;
}

static int exec_in(const struct target *target, const char *cwd, char **command) {
  for (int i = 0; i < NS_COUNT; i++)
    if (setns(target->ns[i], 0)) return die(CANNOT_START, NAMESPACES[i]);
  if (chdir(cwd)) return die(CANNOT_START, cwd);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  execvp(command[0], command);
  int status = errno == ENOENT ? 127 : 126;
  return die(status, command[0]);
}

static int exec_here(int argc, char **argv) {
  int tty = argc > 2 && !strcmp(argv[2], "-t");
  if (argc < 6 + tty || strcmp(argv[4 + tty], "--")) return usage();
  struct target target;
  int failed = open_target(argv[2 + tty], &target);
  if (failed) return failed;
  if (setns(target.pid_ns, CLONE_NEWPID)) return die(CANNOT_START, "enter the PID namespace");
  pid_t pid = fork();
  if (pid < 0) return die(CANNOT_START, "fork");
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (tty) {
      setsid();
      ioctl(0, TIOCSCTTY, 0);
    }
    _exit(exec_in(&target, argv[3 + tty], argv + 5 + tty));
  }
  null_stdio(); /* the far ends must see the command close them, not us */
  int status;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- a container and its monitor ---- */

struct stream {
  int fd;
  const char *name;
  size_t used;
  char text[LINE];
};

static struct {
  int fd;
  size_t size;
  const char *prefix;
} log_file;

static int open_log(void) {
  char path[4096];
  snprintf(path, sizeof path, "%s.log", log_file.prefix);
  return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

/* What can't be renamed or made goes on growing: a container's output is never lost for that. */
static void turn_log(void) {
  char path[4096], old[4096];
  snprintf(path, sizeof path, "%s.log", log_file.prefix);
  snprintf(old, sizeof old, "%s.old", log_file.prefix);
  log_file.size = 0;
  if (rename(path, old)) return;
  int fd = open_log();
  if (fd < 0) return;
  close(log_file.fd);
  log_file.fd = fd;
}

static void write_line(const char *name, char tag, const char *text, size_t size) {
  char out[LINE + 64];
  struct timespec now;
  struct tm parts;
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &parts);
  size_t n = strftime(out, sizeof out, "%Y-%m-%dT%H:%M:%S", &parts);
  n += snprintf(out + n, 64, ".%09ldZ %s %c ", now.tv_nsec, name, tag);
  memcpy(out + n, text, size);
  n += size;
  out[n++] = '\n';
  for (size_t done = 0; done < n;) {
    ssize_t written = write(log_file.fd, out + done, n - done);
    if (written < 0 && errno != EINTR) return; /* a full disk must not stop the container */
    if (written > 0) done += written;
  }
  log_file.size += n;
  if (log_file.size >= LOG_LIMIT) turn_log();
}

static void log_text(struct stream *stream, int at_end) {
  char *start = stream->text, *end = stream->text + stream->used, *newline;
  while ((newline = memchr(start, '\n', end - start))) {
    write_line(stream->name, 'F', start, newline - start);
    start = newline + 1;
  }
  size_t rest = end - start;
  if (rest && (at_end || rest == LINE)) {
    write_line(stream->name, 'P', start, rest);
    rest = 0;
  }
  memmove(stream->text, end - rest, rest);
  stream->used = rest;
}

/* Returns how many bytes were read: 0 when there is nothing (more) to read. */
static size_t copy(struct stream *stream) {
  ssize_t n;
  do n = read(stream->fd, stream->text + stream->used, LINE - stream->used);
  while (n < 0 && errno == EINTR);
  if (n < 0 && errno == EAGAIN) return 0;
  if (n <= 0) {
    close(stream->fd);
    stream->fd = -1;
    return 0;
  }
  stream->used += n;
  log_text(stream, 0);
  return n;
}

static int write_file(const char *prefix, const char *suffix, const char *text) {
  char path[4096], temporary[4096 + 8];
  snprintf(path, sizeof path, "%s.%s", prefix, suffix);
  snprintf(temporary, sizeof temporary, "%s.tmp", path);
  FILE *file = fopen(temporary, "we");
  if (!file) return -1;
  fputs(text, file);
  if (fclose(file)) return -1;
  return rename(temporary, path);
}

static int now_text(char *out, size_t size, long a, long b) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return snprintf(out, size, "%ld %ld %lld.%09ld\n", a, b, (long long)now.tv_sec, now.tv_nsec);
}

/* Copies output until the child ended; what its own orphans write later is not waited for. */
static int watch(struct stream *streams, int child_signals, pid_t pid) {
  int status = 0, ended = 0;
  while (!ended) {
    struct pollfd fds[3] = {{streams[0].fd, POLLIN, 0}, {streams[1].fd, POLLIN, 0}, {child_signals, POLLIN, 0}};
    if (poll(fds, 3, -1) < 0) continue;
    for (int i = 0; i < 2; i++)
      if (fds[i].revents) copy(&streams[i]);
    if (fds[2].revents) {
      char drop[16];
      if (read(child_signals, drop, sizeof drop) < 0) continue;
      ended = waitpid(pid, &status, WNOHANG) == pid;
    }
  }
  for (int i = 0; i < 2; i++) {
    /* Only what is in the pipe now: an orphan that writes without end must not keep us. */
    int left = 0;
    if (streams[i].fd >= 0 && !fcntl(streams[i].fd, F_SETFL, O_NONBLOCK)) ioctl(streams[i].fd, FIONREAD, &left);
    while (left > 0 && streams[i].fd >= 0) {
      size_t n = copy(&streams[i]);
      if (n == 0) break;
      left -= n;
    }
    log_text(&streams[i], 1);
  }
  return status;
}

/* ---- the mounts of one container ---- */

static char *read_steps(const char *path, size_t *size) {
  struct stat found;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &found)) return NULL;
  char *text = malloc(found.st_size + 1);
  *size = 0;
  for (ssize_t n = 1; text && n > 0 && *size < (size_t)found.st_size; *size += n)
    if ((n = read(fd, text + *size, found.st_size - *size)) < 0) return NULL;
  close(fd);
  return text;
}

static int read_only(const char *path) {
  struct statvfs found;
  if (statvfs(path, &found)) return -1;
  /* In a user namespace these may be locked: a remount must repeat them. Their values are the same. */
  unsigned long kept = found.f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME);
  if (found.f_flag & ST_RELATIME) kept |= MS_RELATIME;
  return mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | kept, NULL);
}

static int mount_step(const char *verb, const char *a, const char *b) {
  if (!strcmp(verb, "tmpfs")) /* unbindable: a bind of what it lies in must not take it along */
    return mount("tmpfs", a, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") || mount(NULL, a, NULL, MS_UNBINDABLE, NULL);
  if (!strcmp(verb, "dir")) return mkdir(a, 0755) && errno != EEXIST;
  if (!strcmp(verb, "file")) {
    if (!access(a, F_OK)) return 0;
    int fd = open(a, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    return fd < 0 ? -1 : close(fd);
  }
  if (!strcmp(verb, "link")) return symlink(a, b);
  if (!strcmp(verb, "bind")) return mount(a, b, NULL, MS_BIND | MS_REC, NULL);
  if (!strcmp(verb, "same")) return mount(a, b, NULL, MS_BIND | MS_REC, NULL) && errno != ENOENT;
  if (!strcmp(verb, "ro")) return read_only(a);
  if (!strcmp(verb, "root"))
    return chdir(a) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/");
  errno = EINVAL;
  return -1;
}

static int do_steps(char *text, size_t size) {
  char *part[3], *end = text + size;
  if (unshare(CLONE_NEWNS)) return die(CANNOT_START, "a mount namespace for the container");
  while (text < end) {
    for (int i = 0; i < 3; i++) {
      part[i] = text;
      text = memchr(text, 0, end - text);
      if (!text++) return errno = EINVAL, die(CANNOT_START, "the file of mounts");
    }
    if (mount_step(part[0], part[1], part[2])) {
      tell(2, "%s %s %s: %s\n", part[0], part[1], part[2], strerror(errno));
      return CANNOT_START;
    }
  }
  return 0;
}

static int signal_pipe = -1;

static void on_child(int number) {
  int saved = errno;
  if (write(signal_pipe, &number, 1) < 0) errno = saved;
  errno = saved;
}

static void monitor(struct target *target, const char *mounts, char **argv, int report) {
  static struct stream streams[2] = {{-1, "stdout", 0, {0}}, {-1, "stderr", 0, {0}}};
  const char *prefix = argv[3];
  char text[128];
  int out[2], err[2], failure[2], signals[2];
  log_file.prefix = prefix;
  log_file.fd = open_log();
  if (log_file.fd < 0 || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC) || pipe2(failure, O_CLOEXEC) ||
      pipe2(signals, O_CLOEXEC | O_NONBLOCK)) {
    tell(report, "!%s.log: %s", prefix, strerror(errno));
    _exit(1);
  }
  if (setns(target->pid_ns, CLONE_NEWPID)) {
    tell(report, "!enter the PID namespace: %s", strerror(errno));
    _exit(1);
  }
  size_t size = 0;
  char *steps = mounts ? read_steps(mounts, &size) : NULL;
  if (mounts && !steps) {
    tell(report, "!%s: %s", mounts, strerror(errno));
    _exit(1);
  }
  signal_pipe = signals[1];
  struct sigaction action = {.sa_handler = on_child, .sa_flags = SA_RESTART};
  sigaction(SIGCHLD, &action, NULL);
  pid_t pid = fork();
  if (pid == 0) {
    setsid();
    int null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    dup2(failure[1], 2); /* die() tells the monitor why the command could not be executed */
    dup2(out[1], 1);
    fcntl(err[1], F_SETFD, 0);
    for (int i = 0; i < NS_COUNT; i++)
      if (setns(target->ns[i], 0)) _exit(die(CANNOT_START, NAMESPACES[i]));
    if (steps && do_steps(steps, size)) _exit(CANNOT_START);
    if (chdir(argv[4])) _exit(die(CANNOT_START, argv[4]));
    int saved = fcntl(2, F_DUPFD_CLOEXEC, 3);
    dup2(err[1], 2);
    fcntl(err[1], F_SETFD, FD_CLOEXEC);
    execvp(argv[6], argv + 6);
    int reason = errno;
    dup2(saved, 2);
    errno = reason;
    _exit(die(CANNOT_START, argv[6]));
  }
  close(out[1]);
  close(err[1]);
  close(failure[1]);
  char reason[512];
  ssize_t n = pid < 0 ? 0 : read(failure[0], reason, sizeof reason - 1);
  if (pid < 0 || n > 0) {
    tell(report, "!%.*s", (int)(n > 0 ? n : 4), n > 0 ? reason : "fork");
    _exit(1);
  }
  now_text(text, sizeof text, getpid(), pid);
  if (write_file(prefix, "started", text)) tell(report, "!%s.started: %s", prefix, strerror(errno));
  tell(report, "%d %d\n", getpid(), pid);
  close(report);
  null_stdio();
  streams[0].fd = out[0];
  streams[1].fd = err[0];
  int status = watch(streams, signals[0], pid);
  int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  now_text(text, sizeof text, number ? 128 + number : WEXITSTATUS(status), number);
  _exit(write_file(prefix, "exit", text) ? 1 : 0);
}

static int run(int argc, char **argv) {
  const char *mounts = argc > 3 && !strcmp(argv[2], "--mounts") ? argv[3] : NULL;
  if (mounts) argc -= 2, argv += 2;
  if (argc < 7 || strcmp(argv[5], "--")) return usage();
  struct target target;
  int report[2], failed = open_target(argv[2], &target);
  if (failed) return failed;
  if (pipe2(report, O_CLOEXEC)) return die(CANNOT_START, "pipe");
  pid_t pid = fork();
  if (pid < 0) return die(CANNOT_START, "fork");
  if (pid == 0) {
    close(report[0]);
    setsid();
    monitor(&target, mounts, argv, report[1]);
  }
  close(report[1]);
  char text[1024] = {0};
  ssize_t n = read(report[0], text, sizeof text - 1);
  if (n > 0 && text[0] != '!') {
    fputs(text, stdout);
    return 0;
  }
  text[strcspn(text, "\n")] = 0;
  fprintf(stderr, "%s\n", n > 0 ? text + 1 : "the monitor died");
  return CANNOT_START;
}

int main(int argc, char **argv) {
  if (argc < 2) return usage();
  if (!strcmp(argv[1], "sandbox")) return sandbox(argc, argv);
  if (!strcmp(argv[1], "run")) return run(argc, argv);
  if (!strcmp(argv[1], "exec")) return exec_here(argc, argv);
  if (!strcmp(argv[1], "idle")) reap_until_term();
  return usage();
}
