/**
 * `fetch` for servers of others. That of Node 20 to 24 ends the process when a server closes a connection whose body is read slowly
 * (nodejs/undici issue 5360), and no caller can catch it.
 */
import type { Agent, fetch as Fetch } from 'undici'

/** Its own: the common one belongs to Node's fetch as soon as that was used. */
let dispatcher: Agent | undefined

/** Loaded on use: most processes ask no other server. */
export async function outgoingFetch(
  address: Parameters<typeof Fetch>[0],
  options: Parameters<typeof Fetch>[1] = {},
): ReturnType<typeof Fetch> {
  const undici = await import('undici')
  dispatcher ??= new undici.Agent()
  return undici.fetch(address, { dispatcher, ...options })
}
