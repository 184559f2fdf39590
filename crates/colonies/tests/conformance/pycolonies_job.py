"""A whole job with the public Python client: register, submit, assign, log, close, read, fail.

Arguments: host, port, private keys of the server's owner, of a new colony and of a new executor.
"""

import sys

from crypto import Crypto
from pycolonies import Colonies, ColoniesConnectionError, func_spec


def refused(call, words):
    try:
        call()
    except ColoniesConnectionError as error:
        assert words in str(error), error
    else:
        raise AssertionError("expected to be refused: " + words)


host, port, server_key, colony_key, executor_key = sys.argv[1:]
crypto = Crypto()
client = Colonies(host, int(port))
colony = "python"

client.add_colony({"colonyid": crypto.id(colony_key), "name": colony}, server_key)
executor = {
    "executorname": "snake",
    "executorid": crypto.id(executor_key),
    "colonyname": colony,
    "executortype": "python-worker",
}
client.add_executor(executor, colony_key)
refused(lambda: client.assign(colony, 1, executor_key), "not a member")
client.approve_executor(colony, "snake", colony_key)
assert [found["executorname"] for found in client.list_executors(colony, executor_key)] == ["snake"]
client.add_function(colony, "snake", "greet", executor_key)
assert client.get_functions_by_executor(colony, "snake", executor_key)[0]["funcname"] == "greet"
refused(lambda: client.assign(colony, 1, executor_key), "No process available for assignment")

spec = func_spec("greet", ["hello", 42], colony, "python-worker", priority=5, maxexectime=30, maxretries=3)
spec.kwargs = {"name": "w\u00f6rld"}
submitted = client.submit_func_spec(spec, executor_key)
assert submitted.state == Colonies.WAITING and submitted.spec.args == ["hello", 42]
assigned = client.assign(colony, 10, executor_key)
assert assigned.processid == submitted.processid and assigned.spec.kwargs == {"name": "w\u00f6rld"}
client.add_log(assigned.processid, "working", executor_key)
log = client.get_process_log(colony, assigned.processid, 10, 0, executor_key)
assert [line["message"] for line in log] == ["working"]
client.close(assigned.processid, ["hello w\u00f6rld", 1.5], executor_key)
closed = client.get_process(assigned.processid, executor_key)
assert closed.state == Colonies.SUCCESSFUL and closed.output == ["hello w\u00f6rld", 1.5]

client.submit_func_spec(func_spec("greet", [], colony, "python-worker"), executor_key)
failing = client.assign(colony, 10, executor_key)
client.fail(failing.processid, ["no"], executor_key)
failed = client.get_process(failing.processid, executor_key)
assert failed.state == Colonies.FAILED and failed.errors == ["no"]

listed = client.list_processes(colony, 10, Colonies.SUCCESSFUL, executor_key)
assert [process.processid if hasattr(process, "processid") else process["processid"] for process in listed] == [
    assigned.processid
]
statistics = client.stats(colony, executor_key)
assert statistics["successfulprocesses"] == 1 and statistics["failedprocesses"] == 1
client.remove_executor(colony, "snake", colony_key)
refused(lambda: client.assign(colony, 1, executor_key), "not a member")
print("done")
