/** Asks an endpoint of `endpoint.json` as a replica does. */
import { createRuntimes, formatOf, type ArtifactFiles } from '@tenure/predictors'
import type { FeatureFit, Output } from '@tenure/predictors/features'
import { hosts } from '../../../api/serving/runtime/hosts.ts'
import { createEndpointClient } from '../../../store/endpoint-client.ts'

const number = (name: string): FeatureFit => ({ name, kind: 'number', mean: 0, std: 1, fill: null })
const text = (name: string): FeatureFit => ({ name, kind: 'category', vocabulary: [], encoding: 'text' })

/** Returns the numbers of one row. Texts and vectors are strings. */
export async function askDirectly(
  file: object,
  row: Record<string, number | string>,
  output: Output = { kind: 'number' },
): Promise<number[]> {
  const { ask } = createEndpointClient({ privateHosts: ['127.0.0.1'], secrets: '/nowhere' })
  const runtimes = createRuntimes({ onError: () => {}, hosts: { ...hosts, ask } })
  const preprocessing = Object.entries(row).map(([name, value]) =>
    typeof value === 'number' ? number(name) : text(name),
  )
  const description = { artifact: 'endpoint', output, preprocessing } as const
  const files: ArtifactFiles = { 'endpoint.json': Buffer.from(JSON.stringify(file)) }
  const opening = formatOf(description).open(description, files, { version: 'orders_v1.1.0', runtimes })
  const { predictor } = await (opening as Exclude<typeof opening, Generator>)
  const values = Object.values(row)
  const given = new Float32Array(predictor.outputs)
  const texts = Buffer.concat(
    values
      .filter((value) => typeof value === 'string')
      .map((value) => {
        const length = Buffer.alloc(4)
        length.writeUInt32LE(Buffer.byteLength(value))
        return Buffer.concat([length, Buffer.from(value)])
      }),
  )
  const numbers = Float64Array.from(values.filter((value) => typeof value === 'number'))
  try {
    await predictor.run(numbers, 1, given, undefined, { texts, textBytes: texts.length })
  } finally {
    predictor.close?.()
  }
  return [...given]
}
