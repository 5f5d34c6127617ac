"""A throw-away certification authority and server certificates, made with openssl in the run's directory."""

import os
import subprocess

EC = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")


def openssl(*arguments):
    subprocess.run(("openssl",) + arguments, check=True, capture_output=True)


class Pki:
    """ca is the file to trust; localhost is good for localhost and 127.0.0.1, other for another name, expired is
    past its time, and stranger is good for localhost but from an authority that nobody trusts."""

    def __init__(self, directory):
        self.directory = directory
        self.ca = self._authority("ca")
        self._authority("strange-ca")
        self.localhost = self._certificate("localhost", "DNS:localhost,IP:127.0.0.1")
        self.other = self._certificate("other", "DNS:mail.example.net")
        self.stranger = self._certificate("stranger", "DNS:localhost,IP:127.0.0.1", authority="strange-ca")
        self.expired = self._certificate("expired", "DNS:localhost,IP:127.0.0.1", days="-1")

    def _path(self, name):
        return os.path.join(self.directory, name)

    def _authority(self, name):
        openssl("req", "-x509", "-newkey", *EC, "-nodes", "-days", "30",
                "-subj", f"/CN=Postern test {name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                "-keyout", self._path(f"{name}.key"), "-out", self._path(f"{name}.pem"))
        return self._path(f"{name}.pem")

    @property
    def packaged(self):
        """Good for localhost, with such a key as Debian's package ssl-cert makes for mail servers."""
        return self._certificate("packaged", "DNS:localhost,IP:127.0.0.1", key_type=("rsa:2048",))

    def _certificate(self, name, names, authority="ca", days="20", key_type=EC):
        key, request, certificate, extensions = (self._path(f"{name}.{kind}") for kind in ("key", "csr", "pem", "ext"))
        openssl("req", "-newkey", *key_type, "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        with open(extensions, "w", encoding="ascii") as out:
            out.write(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n")
        openssl("x509", "-req", "-in", request, "-CA", self._path(f"{authority}.pem"),
                "-CAkey", self._path(f"{authority}.key"), "-CAcreateserial", "-days", days, "-extfile", extensions,
                "-out", certificate)
        return certificate, key
