/** Builds a version that runs in ONNX Runtime: a scikit-learn pipeline with three numeric inputs, one of them an integer, and one text. */
import type { Output } from '../../../domain/tasks/output.ts'
import { putManifest, type Artifacts } from '../../../store/artifacts.ts'
import { readOnnxCases } from '../../../packages/predictors/test/support/parity.ts'

export interface PipelineRow {
  age: number
  income: number
  visits: number
  city: string
}

const found = readOnnxCases().find(({ name }) => name === 'session-pipeline-0')!

/** Input rows with the probability that scikit-learn computed for each in Python. */
export const pipelineRows = found.rows.flatMap((row, at): { row: PipelineRow; answer: number }[] => {
  const [age, income, visits, city] = row
  const answer = (found.answers[at] as number[])[1]!
  if (typeof age !== 'number' || typeof income !== 'number' || typeof visits !== 'number') return []
  return [{ row: { age, income, visits, city: String(city) }, answer }]
})

export async function putPipeline(
  artifacts: Artifacts,
  model: string,
  output: Output = { kind: 'probability', positive: 'yes', threshold: 0.5 },
): Promise<string> {
  const golden = pipelineRows.slice(0, 5)
  const number = (name: string) => ({ name, kind: 'number', mean: 0, std: 1, fill: null }) as const
  return putManifest(artifacts, {
    format: 'tenure-artifact@1',
    model,
    artifact: 'onnx',
    features: {
      city: { kind: 'category', missing: 'fill' },
      age: { kind: 'number', missing: 'fill' },
      income: { kind: 'number', missing: 'fill' },
      visits: { kind: 'number', missing: 'fill' },
    },
    featureOrder: ['age', 'income', 'visits', 'city'],
    output,
    preprocessing: [
      number('age'),
      number('income'),
      number('visits'),
      { name: 'city', kind: 'category', vocabulary: [], encoding: 'text' },
    ],
    files: { 'model.onnx': await artifacts.put('artifacts', found.bytes) },
    golden: {
      instances: golden.map(({ row }) => ({ ...row })),
      outputs: golden.map(({ answer }) => [answer]),
    },
    training: { snapshot: 's', seed: 1, code: 'c', dependencies: 'd', hyperparameters: {}, rows: 2 },
  })
}
