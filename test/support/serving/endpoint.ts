/** A server that answers a model, whose answers and faults a test chooses, and versions that it answers. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { outputWidth } from '@tenure/predictors/features'
import type { FeatureRow } from '../../../domain/model/features.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import { openArtifacts, putManifest } from '../../../store/artifacts.ts'
import { irisSpec } from './artifact.ts'
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
type Answering = Pick<TestEndpoint, 'address' | 'answer'>

/** Stores an artifact that the server answers. Its golden answers are those that it gives now. Returns its digest. */
export async function putEndpoint(
  artifactRoot: string,
  endpoint: Answering,
  {
    golden,
    ...described
  }: Pick<Manifest, 'model' | 'features' | 'output'> & { golden: readonly FeatureRow[] },
  changes: object = {},
): Promise<string> {
  const artifacts = openArtifacts(artifactRoot)
  const columns = Object.keys(described.features)
  const file = {
    endpoint: 'json',
    address: endpoint.address,
    columns,
    outputs: Array.from({ length: outputWidth(described.output) }, (_, at) => `predictions.*.${at}`),
    ...changes,
  }
  return putManifest(artifacts, {
    format: 'tenure-artifact@1',
    ...described,
    artifact: 'endpoint',
    library: `json endpoint at ${new URL(endpoint.address).host}`,
    featureOrder: columns,
    preprocessing: columns.map((name) => ({ name, kind: 'number', mean: 0, std: 1, fill: null })),
    files: { 'endpoint.json': await artifacts.put('artifacts', Buffer.from(JSON.stringify(file))) },
    golden: {
      instances: [...golden],
      outputs: golden.map((row) => endpoint.answer(row as Record<string, number>)),
    },
    training: { snapshot: 's', seed: 1, code: 'c', dependencies: 'd', hyperparameters: {}, rows: 2 },
  })
}

/** Registers a version with the features of iris that the server answers. */
export async function registerEndpoint(
  { store, artifactRoot }: Pick<ServingFixture, 'store' | 'artifactRoot'>,
  endpoint: Answering,
  { model, minor = 0, ...changes }: { model: string; minor?: number } & Record<string, unknown>,
): Promise<string> {
  const { features, output, golden } = irisSpec(model)
  const described = { model, features, output }
  const digest = await putEndpoint(artifactRoot, endpoint, { ...described, golden }, changes)
  return registerDigest(store, artifactRoot, { ...described, digest }, minor)
}
