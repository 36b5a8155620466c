/** Compares the processor time of a prediction over gRPC with that of one over HTTP, both of the Open Inference Protocol. */
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { protoMessage, protoPacked, protoText } from '../../../api/grpc/wire.ts'
import { freePort } from '@tenure/embedded'
import { checkout } from '../../../temporal.config.ts'
import { randomLayer, seeded, type ArtifactSpec } from '../../../test/support/serving/artifact.ts'
import { startApiProcess } from '../../../test/support/serving/api-process.ts'
import { quantileOf } from '../../../test/support/figures.ts'
import { costUs, httpAsker, type Ask, type MeasuredProcess } from './replica-cost.ts'

const width = 32
const names = Array.from({ length: width }, (_, index) => `f${index}`)
const same = (bytes: Buffer): Buffer => bytes

/** Describes a model with 32 numeric inputs. */
export function wideSpec(): ArtifactSpec {
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

export interface GrpcCost {
  rows: number
  httpUs: number
  grpcUs: number
  /** CPU time of a server of the same library that does nothing with messages of the same sizes. */
  bareUs: number
  /** The median of the rounds; each round measures both in turn. */
  ratio: number
}

/** Measures calls with so many rows, on a replica with this environment, which serves `wide`. */
export async function measureGrpc(
  environment: Record<string, string>,
  calls: Readonly<Record<number, number>>,
  rounds: number,
): Promise<GrpcCost[]> {
  const port = await freePort()
  const replica = await startApiProcess({ ...environment, TENURE_GRPC_PORT: String(port) })
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure())
  const costs: GrpcCost[] = []
  try {
    for (const [rows, each] of Object.entries(calls).map(([rows, each]) => [Number(rows), each] as const)) {
      const { json, message } = bodiesOf(rows)
      const bare = await startEcho(rows * 5 + 200)
      const bareClient = new Client(`127.0.0.1:${bare.port}`, credentials.createInsecure())
      const http = httpAsker(replica, '/v2/models/wide/infer', json)
      const asks = [
        ['http', http.ask, replica],
        ['grpc', grpcAsker(client, message), replica],
        ['bare', grpcAsker(bareClient, message), bare],
      ] as const
      const found: Record<'http' | 'grpc' | 'bare', number[]> = { http: [], grpc: [], bare: [] }
      // The first rounds compile.
      for (let round = -2; round < rounds; round++)
        for (const [name, ask, server] of asks) {
          const us = await costUs(server, ask, each)
          if (round >= 0) found[name].push(us)
        }
      http.close()
      bareClient.close()
      bare.child.kill()
      const ratios = found.grpc.map((us, round) => us / found.http[round]!)
      const [httpUs, grpcUs, bareUs, ratio] = [found.http, found.grpc, found.bare, ratios].map((all) =>
        quantileOf(all, 0.5),
      )
      costs.push({ rows, httpUs: httpUs!, grpcUs: grpcUs!, bareUs: bareUs!, ratio: ratio! })
    }
  } finally {
    client.close()
    await replica.end('SIGTERM')
  }
  return costs
}

const grpcAsker =
  (client: Client, message: Buffer): Ask =>
  () =>
    new Promise((resolve) => {
      const path = '/inference.GRPCInferenceService/ModelInfer'
      client.makeUnaryRequest(path, same, same, message, new Metadata(), (error) => resolve(error === null))
    })

async function startEcho(answerBytes: number): Promise<MeasuredProcess & { port: number }> {
  const child = spawn(process.execPath, ['packages/lab/interop/grpc-echo.mjs', String(answerBytes)], {
    cwd: checkout,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  return { child, port: Number(line) }
}

/** Encodes the same rows in JSON and as raw tensors. */
function bodiesOf(rows: number): { json: string; message: Buffer } {
  const next = seeded(rows)
  const data = Float32Array.from({ length: rows * width }, () => Math.round(next() * 1_000) / 1_000)
  const shape = [rows, width]
  const tensor = {
    name: 'x',
    shape,
    datatype: 'FP32',
    data: [...data].map((value) => Number(value.toFixed(3))),
  }
  const input = protoMessage(5, protoText(1, 'x'), protoText(2, 'FP32'), protoPacked(3, shape))
  return {
    json: JSON.stringify({ inputs: [tensor] }),
    message: Buffer.concat([protoText(1, 'wide'), input, protoMessage(7, Buffer.from(data.buffer))]),
  }
}
