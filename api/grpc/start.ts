/** Starts the gRPC server where it is configured. */
import type { Config } from '../../temporal.config.ts'
import type { PredictEndpoint } from '../transport/predict-endpoint.ts'
import type { GrpcServer, openGrpc } from './server.ts'

/**
 * Starts the server and loads gRPC only where it is configured, because of its code and memory. Each replica of a machine has its own port.
 */
export async function startGrpc(
  api: Pick<Config['api'], 'grpcPort' | 'slot' | 'host'>,
  deps: Parameters<typeof openGrpc>[0],
  predict: PredictEndpoint,
): Promise<GrpcServer | undefined> {
  if (api.grpcPort === undefined) return undefined
  const { openGrpc } = await import('./server.ts')
  const offset = api.grpcPort === 0 ? 0 : Math.max(0, Number(api.slot) - 1 || 0)
  const grpc = await openGrpc(deps, { host: api.host, port: api.grpcPort + offset, predict })
  deps.log.info({ port: grpc.port }, 'listening for gRPC')
  return grpc
}
