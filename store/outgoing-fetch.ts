/**
 * `fetch` for servers of others. That of Node 20 to 24 ends the process when a server closes a connection whose body is read slowly
 * (nodejs/undici issue 5360), and no caller can catch it.
 */
import type { fetch as Fetch } from 'undici'

/** Loaded on use: most processes ask no other server. */
export async function outgoingFetch(...args: Parameters<typeof Fetch>): ReturnType<typeof Fetch> {
  const { fetch } = await import('undici')
  return fetch(...args)
}
