// The calls to the server: same origin, with the session's cookie and key on each.

const KEY = "censor-key"; // in storage of this tab and this port; cookies know no ports

/** Exchange the link's token, if there is one; it leaves the address at once. */
export async function openSession() {
  const token = location.hash.slice(1);
  if (!token) return;
  history.replaceState(null, "", "/");
  const answer = await send("/session", { token });
  sessionStorage.setItem(KEY, (await answer.json()).key);
}

export async function getState() {
  return (await send("/state")).json();
}

export async function getPicture(path, changes) {
  return (await send(path, changes)).blob();
}

export async function save(changes) {
  return (await send("/save", changes)).json();
}

export async function end() {
  await send("/end", {});
}

/** Hold a line open while the page lives; resolves when the server has gone. */
export async function stayAlive() {
  try {
    const answer = await send("/alive");
    const reader = answer.body.getReader();
    while (!(await reader.read()).done);
  } catch {
    // gone too
  }
}

async function send(path, body) {
  const options = { cache: "no-store", headers: { "X-Censor-Key": sessionStorage.getItem(KEY) ?? "" } };
  if (body !== undefined) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The editing round has ended: the program in the terminal does not answer.");
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({ error: answer.statusText }));
  throw new Error(said.error);
}
