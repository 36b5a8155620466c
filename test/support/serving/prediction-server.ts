/** Serves the prediction endpoint of an API on a socket. Responds 418 to a path that is not a prediction. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createPredictEndpoint } from '../../../api/transport/predict-endpoint.ts'
import { createTargetParser } from '../../../api/transport/prediction-path.ts'
import type { TestApi } from './serving-fixture.ts'

export interface PredictionServer {
  url: string
  close(): void
}

/** Starts the server on a free port. `refusals` counts refused requests by reason. */
export async function startPredictionServer(
  api: TestApi,
  refusals: Map<string, number>,
): Promise<PredictionServer> {
  const targetOf = createTargetParser()
  const endpoint = createPredictEndpoint(api.deps, refusals)
  const server = createServer((request, response) => {
    const target = targetOf(request.method, request.url)
    if (target === undefined) response.writeHead(418).end()
    else endpoint.acceptFromNode(target, request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}
