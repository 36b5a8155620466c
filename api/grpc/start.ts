/** Starts the gRPC server where it is configured. */
import { isError } from '../../domain/errors.ts'
import type { Config } from '../../temporal.config.ts'
import { startLoop } from '../serving/poll-loop.ts'
import type { PredictEndpoint } from '../transport/predict-endpoint.ts'
import type { GrpcServer, openGrpc } from './server.ts'

const retryMs = 500

/**
 * Starts the server and loads gRPC only where it is configured, because of its code and memory. Each replica of a machine has its own port.
 * The replica of a killed supervisor holds that port until its successor serves over HTTP, so the successor waits for it.
 */
export async function startGrpc(
  api: Pick<Config['api'], 'grpcPort' | 'slot' | 'host' | 'supervisor'>,
  deps: Parameters<typeof openGrpc>[0],
  predict: PredictEndpoint,
): Promise<GrpcServer | undefined> {
  if (api.grpcPort === undefined) return undefined
  const { openGrpc } = await import('./server.ts')
  const offset = api.grpcPort === 0 ? 0 : Math.max(0, Number(api.slot) - 1 || 0)
  const port = api.grpcPort + offset
  const open = async (): Promise<GrpcServer> => {
    const grpc = await openGrpc(deps, { host: api.host, port, predict })
    deps.log.info({ port: grpc.port }, 'listening for gRPC')
    return grpc
  }
  return open().catch((error: unknown) => {
    if (api.supervisor === undefined || !isInUse(error)) throw error
    deps.log.warn({ port }, 'the port of gRPC is in use; calls are answered when it is free')
    return openWhenFree(open, { port, log: deps.log })
  })
}

const isInUse = (error: unknown): boolean =>
  isError(error, 'configuration_invalid') && error.message.includes('EADDRINUSE')

function openWhenFree(
  open: () => Promise<GrpcServer>,
  { port, log }: { port: number; log: Parameters<typeof openGrpc>[0]['log'] },
): GrpcServer {
  let grpc: GrpcServer | undefined
  const onError = (error: unknown): void => {
    if (!isInUse(error)) log.error({ err: error }, 'gRPC could not be opened')
  }
  const loop = startLoop(
    async () => {
      grpc = await open()
      void loop.stop()
    },
    { everyMs: retryMs, onError },
  )
  return {
    port,
    async stop(drainMs) {
      await loop.stop()
      await grpc?.stop(drainMs)
    },
  }
}
