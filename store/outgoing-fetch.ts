/**
 * `fetch` for foreign servers. The `fetch` of Node 20 to 24 ends the process when a server closes a connection whose body is read slowly
 * (nodejs/undici issue 5360), and no caller can catch that.
 */
import type { Agent, undiciFetch } from './undici.ts'

/** A separate dispatcher: the global one belongs to Node's fetch once that was used. */
let dispatcher: Agent | undefined

/** Loaded on use, because most processes call no foreign server. */
export async function outgoingFetch(
  address: Parameters<typeof undiciFetch>[0],
  options: Parameters<typeof undiciFetch>[1] = {},
): ReturnType<typeof undiciFetch> {
  const undici = await import('./undici.ts')
  dispatcher ??= new undici.Agent()
  return undici.undiciFetch(address, { dispatcher, ...options })
}
