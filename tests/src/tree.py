import json, os, random, signal, sys, time

request = json.load(sys.stdin)
given = request["input"]
chance = random.Random(given["seed"])
pids = os.open("@DIR@/trace." + given["trace"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def grow(depth):
    """Says that it is here, starts others below it, and waits to be ended."""
    if chance.random() < 0.3:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(pids, f"{os.getpid()}\n".encode())
    for _ in range(chance.randint(0, 2) if depth else 2):
        seed, how = chance.random(), chance.choice(["fork", "session", "double"])
        child = os.fork()
        if child == 0:
            chance.seed(seed)
            if how != "fork":
                os.setsid()
            if how == "double" and os.fork():
                os._exit(0)
            if depth < 5:
                grow(depth + 1)
            time.sleep(600)
        elif how == "double":
            os.waitpid(child, 0)
    if depth == 0:
        print(json.dumps({"type": "progress", "percent": 50, "message": "grown"}), flush=True)
    time.sleep(600)


grow(0)
