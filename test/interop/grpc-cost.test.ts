/** Measures what a prediction over gRPC costs the replica beside one over HTTP: processor time of its process for each call. */
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import { readFileSync } from 'node:fs'
import { Agent, request as httpRequest } from 'node:http'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { protoMessage, protoPacked, protoText } from '../../api/grpc/wire.ts'
import { freePort } from '../../cli/embedded/process.ts'
import { randomLayer, seeded, type ArtifactSpec } from '../support/serving/artifact.ts'
import { startApiProcess, type ApiProcess } from '../support/serving/api-process.ts'
import { openServingFixture, type ServingFixture } from '../support/serving/serving-fixture.ts'
import { keyPlacesOf } from '../support/serving/sign-versions.ts'

const width = 32
const callers = 8
const rounds = 5
const callsOfRound = { 1: 6_000, 100: 1_500 } as const
const names = Array.from({ length: width }, (_, index) => `f${index}`)
let fixture: ServingFixture
let api: ApiProcess
let grpc: Client
let agent: Agent

function wideSpec(): ArtifactSpec {
  const next = seeded(3)
  return {
    model: 'wide',
    features: Object.fromEntries(names.map((name) => [name, { kind: 'number' as const }])),
    output: { kind: 'probability', positive: 'yes', threshold: 0.5 },
    preprocessing: names.map((name) => ({ name, kind: 'number' as const, mean: 0, std: 1, fill: 0 })),
    layers: [randomLayer(width, 64, 'relu', next), randomLayer(64, 1, 'sigmoid', next)],
    golden: [Object.fromEntries(names.map((name) => [name, 0.5]))],
  }
}

beforeAll(async () => {
  fixture = await openServingFixture()
  await fixture.route('wide', { proven: await fixture.register(wideSpec()) })
  const grpcPort = await freePort()
  api = await startApiProcess({
    DATABASE_URL: fixture.databaseUrl,
    TENURE_STATE: fixture.directory(),
    TENURE_ARTIFACTS: fixture.artifactRoot,
    TENURE_KEYS: keyPlacesOf(fixture.artifactRoot).keys,
    TENURE_PUBLIC_PREDICTIONS: 'on',
    TENURE_GRPC_PORT: String(grpcPort),
  })
  grpc = new Client(`127.0.0.1:${grpcPort}`, credentials.createInsecure())
  agent = new Agent({ keepAlive: true, maxSockets: callers })
})
afterAll(async () => {
  grpc?.close()
  agent?.destroy()
  await api?.end('SIGTERM')
  await fixture.close()
})

/** Processor time of the replica in milliseconds. */
function cpuMs(): number {
  const fields = readFileSync(`/proc/${api.child.pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}

const same = (bytes: Buffer): Buffer => bytes
type Ask = () => Promise<void>

function askers(rows: number): { http: Ask; grpc: Ask } {
  const next = seeded(rows)
  const data = Float32Array.from({ length: rows * width }, () => Math.round(next() * 1_000) / 1_000)
  const shape = [rows, width]
  const json = JSON.stringify({
    inputs: [
      { name: 'x', shape, datatype: 'FP32', data: [...data].map((value) => Number(value.toFixed(3))) },
    ],
  })
  const input = protoMessage(5, protoText(1, 'x'), protoText(2, 'FP32'), protoPacked(3, shape))
  const message = Buffer.concat([protoText(1, 'wide'), input, protoMessage(7, Buffer.from(data.buffer))])
  const { hostname, port } = new URL(api.url)
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(json) }
  return {
    http: () =>
      new Promise((resolve, reject) => {
        const call = httpRequest(
          { agent, hostname, port, path: '/v2/models/wide/infer', method: 'POST', headers },
          (answer) =>
            answer
              .resume()
              .on('end', () =>
                answer.statusCode === 200 ? resolve() : reject(new Error(String(answer.statusCode))),
              ),
        )
        call.on('error', reject).end(json)
      }),
    grpc: () =>
      new Promise((resolve, reject) => {
        grpc.makeUnaryRequest(
          '/inference.GRPCInferenceService/ModelInfer',
          same,
          same,
          message,
          new Metadata(),
          (error) => (error === null ? resolve() : reject(error)),
        )
      }),
  }
}

/** Microseconds of the replica's processor for each call. */
async function costUs(ask: Ask, calls: number): Promise<number> {
  const before = cpuMs()
  let left = calls
  let failed = 0
  const run = async (): Promise<void> => {
    while (left-- > 0) await ask().catch(() => failed++)
  }
  await Promise.all(Array.from({ length: callers }, run))
  expect(failed).toBeLessThan(calls / 100)
  return (1_000 * (cpuMs() - before)) / calls
}

const medianOf = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1]!

it.each([1, 100] as const)('a call of %i rows costs a bounded multiple of one over HTTP', async (rows) => {
  const ask = askers(rows)
  const calls = callsOfRound[rows]
  for (const each of [ask.http, ask.grpc]) await costUs(each, calls)
  const http: number[] = []
  const over: number[] = []
  for (let round = 0; round < rounds; round++) {
    http.push(await costUs(ask.http, calls))
    over.push(await costUs(ask.grpc, calls))
  }
  const [a, b] = [medianOf(http), medianOf(over)]
  process.stdout.write(
    `${rows} × ${width}: http ${a.toFixed(0)} µs, grpc ${b.toFixed(0)} µs, ${(b / a).toFixed(2)} ×\n`,
  )
  // Far above what was measured: it fails for another order only.
  expect(b / a).toBeLessThan(12)
})
