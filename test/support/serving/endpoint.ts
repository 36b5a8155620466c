/** A server that answers a model, whose answers and faults a test chooses, and versions that it answers. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { openArtifacts, putManifest } from '../../../store/artifacts.ts'
import { artifactManifest, irisSpec, type ArtifactSpec } from './artifact.ts'
import { registerDigest } from './registration.ts'
import type { ServingFixture } from './serving-fixture.ts'

export type Fault = (request: IncomingMessage, response: ServerResponse) => void

/** Starts the server. It answers the scores of its `answer`, or does what its `fault` does. */
export async function startEndpoint() {
  const endpoint = {
    address: '',
    /** The scores of each row. */
    answer: (_row: Record<string, number>): number[] => [0.7, 0.2, 0.1],
    fault: undefined as Fault | undefined,
    /** The rows that were asked. */
    rows: 0,
    async stop() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
  const server = createServer((request, response) => {
    void text(request).then(
      (body) => {
        const { instances } = JSON.parse(body) as { instances: Record<string, number>[] }
        endpoint.rows += instances.length
        if (endpoint.fault !== undefined) return endpoint.fault(request, response)
        response.end(JSON.stringify({ predictions: instances.map(endpoint.answer) }))
      },
      () => {},
    )
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  endpoint.address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  return endpoint
}

export type TestEndpoint = Awaited<ReturnType<typeof startEndpoint>>

/** Registers a version with the features of iris that the server answers. Its golden answers are those that it gives now. */
export async function registerEndpoint(
  { store, artifactRoot }: ServingFixture,
  endpoint: TestEndpoint,
  { model, minor = 0, ...changes }: { model: string; minor?: number } & Record<string, unknown>,
): Promise<string> {
  const spec: ArtifactSpec = irisSpec(model)
  const artifacts = openArtifacts(artifactRoot)
  const file = {
    endpoint: 'json',
    address: endpoint.address,
    columns: spec.preprocessing.map(({ name }) => name),
    outputs: ['predictions.*.0', 'predictions.*.1', 'predictions.*.2'],
    ...changes,
  }
  const stored = await artifacts.put('artifacts', Buffer.from(JSON.stringify(file)))
  const { files: _, ...manifest } = artifactManifest(spec, { 'model.json': stored, 'weights.bin': stored })
  const digest = await putManifest(artifacts, {
    ...manifest,
    artifact: 'endpoint',
    library: `json endpoint at ${new URL(endpoint.address).host}`,
    preprocessing: spec.preprocessing.map(({ name }) => ({
      name,
      kind: 'number',
      mean: 0,
      std: 1,
      fill: null,
    })),
    files: { 'endpoint.json': stored },
    golden: {
      instances: spec.golden,
      outputs: spec.golden.map((row) => endpoint.answer(row as Record<string, number>)),
    },
  })
  return registerDigest(store, artifactRoot, { ...spec, digest }, minor)
}
