/** Compares the processor time of a prediction over gRPC with that of one over HTTP, both of the Open Inference Protocol. */
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import { protoMessage, protoPacked, protoText } from '../../api/grpc/wire.ts'
import { freePort } from '../../cli/embedded/process.ts'
import { randomLayer, seeded, type ArtifactSpec } from '../../test/support/serving/artifact.ts'
import { startApiProcess } from '../../test/support/serving/api-process.ts'
import { quantileOf } from '../harness/figures.ts'
import { costUs, httpAsker, type Ask } from './replica-cost.ts'

const width = 32
const names = Array.from({ length: width }, (_, index) => `f${index}`)
const same = (bytes: Buffer): Buffer => bytes

/** A model of 32 numbers. */
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
  /** The median of the rounds, in each of which both were measured in turn. */
  ratio: number
}

/** Of calls with so many rows, of a replica with this environment, which serves `wide`. */
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
      const http = httpAsker(replica, '/v2/models/wide/infer', json)
      const grpc: Ask = () =>
        new Promise((resolve) => {
          const path = '/inference.GRPCInferenceService/ModelInfer'
          client.makeUnaryRequest(path, same, same, message, new Metadata(), (error) =>
            resolve(error === null),
          )
        })
      const found: Record<'http' | 'grpc', number[]> = { http: [], grpc: [] }
      // The first rounds compile.
      for (let round = -2; round < rounds; round++)
        for (const [name, ask] of [['http', http.ask] as const, ['grpc', grpc] as const]) {
          const us = await costUs(replica, ask, each)
          if (round >= 0) found[name].push(us)
        }
      http.close()
      const ratios = found.grpc.map((us, round) => us / found.http[round]!)
      const [httpUs, grpcUs, ratio] = [found.http, found.grpc, ratios].map((all) => quantileOf(all, 0.5))
      costs.push({ rows, httpUs: httpUs!, grpcUs: grpcUs!, ratio: ratio! })
    }
  } finally {
    client.close()
    await replica.end('SIGTERM')
  }
  return costs
}

/** The same rows in JSON and as raw tensors. */
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
