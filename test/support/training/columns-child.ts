/** Reads, fits and encodes the training rows of a file and prints their number. Runs with a small heap. */
import { inputWidthOf } from '@tenure/predictors/features'
import { readPart } from '../../../activities/data/rows.ts'
import type { Features } from '../../../domain/model/features.ts'
import { compileColumnEncoder, fitFeatures } from '../../../domain/model/preprocessing.ts'

const [path = '', text = '{}'] = process.argv.slice(2)
const features = JSON.parse(text) as Features
const data = await readPart(path, 'train', { names: Object.keys(features), output: { kind: 'number' } })
const fits = fitFeatures(data, features)
const into = new Float32Array(inputWidthOf(fits))
const encode = compileColumnEncoder(data, features, fits)
let sum = 0
for (let row = 0; row < data.rows; row++) {
  encode(row, into, 0)
  for (const value of into) sum += value
}
process.stdout.write(JSON.stringify({ rows: data.rows, sum: Math.round(sum) }))
