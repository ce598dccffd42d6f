"""replica_set.py PORT - makes the mongod there a one-node replica set and
waits until it is primary; a no-op when it is one already."""

import sys
import time

import pymongo
from pymongo.errors import OperationFailure

port = int(sys.argv[1])
client = pymongo.MongoClient("127.0.0.1", port, directConnection=True)
member = {"_id": 0, "host": f"127.0.0.1:{port}"}
config = {"_id": "rs0", "members": [member]}
try:
    client.admin.command("replSetInitiate", config)
except OperationFailure as error:
    if error.code != 23:  # AlreadyInitialized
        raise
    # the port may differ from that of the last run
    old = client.admin.command("replSetGetConfig")["config"]
    if old["members"][0]["host"] != member["host"]:
        old["members"][0]["host"] = member["host"]
        old["version"] += 1
        client.admin.command("replSetReconfig", old, force=True)
end = time.monotonic() + 30
while not client.admin.command("hello").get("isWritablePrimary"):
    if time.monotonic() > end:
        sys.exit("mongod did not become primary in 30 s")
    time.sleep(0.05)
