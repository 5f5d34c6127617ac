// UnixListener: modes, stale sockets, the peer's user, the longest path, sockets taken over.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <gmock/gmock.h>

#include "postern/io/stream.hpp"
#include "postern/io/unix_path.hpp"
#include "support/loop_fixture.hpp"

namespace postern::io {
namespace {

using namespace std::chrono_literals;

struct UnixListenerTest : test::LoopFixture {
  UnixListenerTest() {
    char name[] = "/tmp/postern-io-XXXXXX";
    directory = ::mkdtemp(name);
    path = directory + "/socket";
  }
  ~UnixListenerTest() override {
    ::unlink(path.c_str());
    ::rmdir(directory.c_str());
  }
  std::string directory, path;
};

TEST_F(UnixListenerTest, AcceptsAndNamesThePeer) {
  auto listener = UnixListener::open(loop, path, 0660);
  ASSERT_TRUE(listener) << listener.error().to_string();
  struct stat info{};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777u, 0660u);
  auto client = await(connect_unix(loop, path, 5s));
  ASSERT_TRUE(client) << client.error().to_string();
  auto accepted = await((*listener)->accept());
  ASSERT_TRUE(accepted);
  EXPECT_EQ(accepted->uid, ::getuid());
  EXPECT_EQ(accepted->gid, ::getgid());
  EXPECT_EQ(accepted->pid, static_cast<std::uint32_t>(::getpid()));
  ASSERT_TRUE((*client)->write_now("hi"));
  auto size = await(accepted->stream->read_some(loop.scratch()));
  ASSERT_TRUE(size);
  EXPECT_EQ(std::string(loop.scratch().data(), *size), "hi");
  (*listener)->close();
  EXPECT_NE(::stat(path.c_str(), &info), 0);
}

TEST_F(UnixListenerTest, CloseEndsAPendingAccept) {
  auto listener = UnixListener::open(loop, path, 0600);
  ASSERT_TRUE(listener);
  std::optional<Errc> ended;
  loop.spawn([](UnixListener& l, std::optional<Errc>& e) -> Task<> {
    auto accepted = co_await l.accept();
    if (!accepted) e = static_cast<Errc>(accepted.error().code.value());
  }(**listener, ended));
  loop.poll();
  listener->reset();
  ASSERT_TRUE(pump_until([&] { return ended.has_value(); }));
  EXPECT_EQ(*ended, Errc::closed);
}

TEST_F(UnixListenerTest, AStaleSocketIsReplacedALiveOneAndAFileAreNot) {
  auto first = UnixListener::open(loop, path, 0600);
  ASSERT_TRUE(first);
  EXPECT_FALSE(UnixListener::open(loop, path, 0600));
  (*first)->keep_path();
  first->reset();  // as if it had been killed
  auto second = UnixListener::open(loop, path, 0600);
  EXPECT_TRUE(second) << second.error().to_string();
  second->reset();

  const int fd = ::open(path.c_str(), O_CREAT | O_WRONLY, 0600);
  ::close(fd);
  auto third = UnixListener::open(loop, path, 0600);
  ASSERT_FALSE(third);
  EXPECT_THAT(third.error().context, ::testing::HasSubstr("no socket"));
}

TEST_F(UnixListenerTest, APathOf107OctetsIsTakenOneMoreIsNot) {
  std::string name = directory + "/";
  name.resize(unix_path_bytes_max, 'x');
  auto fits = UnixListener::open(loop, name, 0600);
  EXPECT_TRUE(fits) << fits.error().to_string();
  EXPECT_FALSE(UnixListener::open(loop, name + "x", 0600));
}

TEST_F(UnixListenerTest, Adopts) {
  auto original = UnixListener::open(loop, path, 0600);
  ASSERT_TRUE(original);
  auto adopted = UnixListener::adopt(loop, ::dup((*original)->native_handle()));
  ASSERT_TRUE(adopted);
  (*original)->keep_path();
  original->reset();
  auto client = await(connect_unix(loop, path, 5s));
  ASSERT_TRUE(client);
  EXPECT_TRUE(await((*adopted)->accept()));

  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  EXPECT_FALSE(UnixListener::adopt(loop, fds[0]));
  ::close(fds[0]);
  ::close(fds[1]);
}

TEST_F(UnixListenerTest, NobodyListens) {
  auto client = await(connect_unix(loop, path, 5s));
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, make_error_code(Errc::connect));
}

}  // namespace
}  // namespace postern::io
