"""A private Active Directory domain controller (Samba) for the tests.

    samba_dc.py provision DIR     makes the domain; the administrator's password comes by stdin
    samba_dc.py serve DIR         serves it until stdin ends

`serve` runs as process 1 of namespaces of its own (the ports of an AD
controller are fixed), so with it ends everything it started. It is reached
through unix sockets, which know no network namespaces: DIR/389.sock and
DIR/636.sock lead to the ports of these numbers.
"""

import asyncio
import logging
import os
import subprocess
import sys

PORTS = (389, 636)


def provision(directory, password):
    # samba-tool has no switch for skip_sysvolacl, without which only root may provision.
    from samba.auth import system_session
    from samba.dsdb import DS_DOMAIN_FUNCTION_2008_R2
    from samba.param import LoadParm
    from samba.provision import provision as make

    parameters = LoadParm()
    parameters.load("/dev/null")
    parameters.set("interfaces", "lo")
    parameters.set("bind interfaces only", "yes")
    log = logging.getLogger("provision")
    log.addHandler(logging.NullHandler())
    make(log, system_session(), smbconf="/dev/null", targetdir=directory, samdb_fill="FULL",
         realm="AD.EXAMPLE.ORG", domain="AD", hostname="dc1", hostip="127.0.0.1",
         adminpass=password, serverrole="active directory domain controller",
         use_rfc2307=True, dns_backend="NONE",
         dom_for_fun_level=DS_DOMAIN_FUNCTION_2008_R2, lp=parameters, skip_sysvolacl=True)


def configure(directory):
    for name in ("run", "log", "ncalrpc", "winbindd", "ntp_signd"):
        os.makedirs(f"{directory}/{name}", exist_ok=True)
    os.chmod(f"{directory}/ntp_signd", 0o750)
    with open(f"{directory}/smb.conf", "w") as conf:
        conf.write(f"""[global]
    netbios name = DC1
    realm = AD.EXAMPLE.ORG
    workgroup = AD
    server role = active directory domain controller
    server services = ldap
    interfaces = lo
    bind interfaces only = yes
    idmap_ldb:use rfc2307 = yes
    ldb:nosync = yes
    private dir = {directory}/private
    lock directory = {directory}
    state directory = {directory}/state
    cache directory = {directory}/cache
    binddns dir = {directory}/bind-dns
    pid directory = {directory}/run
    log file = {directory}/log/samba.log
    ncalrpc dir = {directory}/ncalrpc
    winbindd socket directory = {directory}/winbindd
    ntp signd socket directory = {directory}/ntp_signd
    tls enabled = yes
    tls cafile = {directory}/tls/ca.pem
    tls certfile = {directory}/tls/server.pem
    tls keyfile = {directory}/tls/server.key
""")


async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


def bridge(port):
    async def serve(reader, writer):
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    return serve


async def serve(directory):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    configure(directory)
    samba = await asyncio.create_subprocess_exec(
        "/usr/sbin/samba", "-s", f"{directory}/smb.conf", "--foreground", "--model=single",
        "--no-process-group", stdin=subprocess.DEVNULL)
    for port in PORTS:
        path = f"{directory}/{port}.sock"
        if os.path.exists(path):
            os.unlink(path)
        await asyncio.start_unix_server(bridge(port), path)
    stdin = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.wait([stdin, asyncio.ensure_future(samba.wait())],
                       return_when=asyncio.FIRST_COMPLETED)
    os._exit(0)


if sys.argv[1] == "provision":
    provision(sys.argv[2], sys.stdin.readline().strip())
else:
    asyncio.run(serve(sys.argv[2]))
