/** Holds early requests until their handlers are loaded, so that a starting replica refuses none. */
import type { RequestListener, Server } from 'node:http'

/** Handles a request, or returns false. */
type TryHandle = (...exchange: Parameters<RequestListener>) => boolean

export interface RequestGate {
  /** Opens the gate for predictions and, until the routes are mounted, for health checks. */
  open(predict: TryHandle, health: TryHandle): void
  mount(routes: RequestListener): void
}

export function createRequestGate(server: Server): RequestGate {
  const held: Parameters<RequestListener>[] = []
  let tryPredict: TryHandle = () => false
  let tryHealth: TryHandle = () => false
  let routes: RequestListener | undefined
  const pass: RequestListener = (...exchange) => {
    if (tryPredict(...exchange)) return
    if (routes !== undefined) routes(...exchange)
    else if (!tryHealth(...exchange)) held.push(exchange)
  }
  const release = (): void => {
    for (const exchange of held.splice(0)) pass(...exchange)
  }
  server.on('request', pass)
  return {
    open(predict, health) {
      tryPredict = predict
      tryHealth = health
      release()
    },
    mount(mounted) {
      routes = mounted
      release()
    },
  }
}
