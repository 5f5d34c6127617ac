// Boost.Asio, compiled once: everything else sees declarations only (BOOST_ASIO_SEPARATE_COMPILATION), which
// takes a file that uses Asio from 17 seconds to under 2. No other file may include this header
// (tests/checks/check_layers.py). boost/asio/ssl is not used: io drives OpenSSL itself.
#include <boost/asio/impl/src.hpp>
