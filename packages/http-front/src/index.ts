/** The public interface: the fast path, the server behind it, and what keeps the event loop responsive under overload. */
export {
  type Admitted,
  type FastPath,
  type FrontHandler,
  type FrontOptions,
  openFastPath,
} from './fast-path.ts'
export { type Caller, type Exchange, type ReadHeaders, exchangeOf } from './exchange.ts'
export { type HeldBytes, createByteBudget } from './held-bytes.ts'
export {
  type HttpServerOptions,
  type Refusal,
  type RefusalCode,
  type RefusalOf,
  type RenewedCertificate,
  type SocketLimits,
  createHttpServer,
  listenBacklog,
  listenOn,
  socketLimits,
} from './http-server.ts'
export { type WorkQueue, createWorkQueue } from './turn-scheduler.ts'
export { type ReadThrottle, createReadThrottle } from './read-throttle.ts'
export { adoptConnection, sendListener, stopListening } from './node-internals.ts'
