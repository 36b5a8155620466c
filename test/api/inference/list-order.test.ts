/** Tests that rows without names are read in the order of the model file, even if a version orders its columns differently. */
import { describe, expect, it } from 'vitest'
import { readInfer } from '../../../api/inference/request-reader.ts'
import { fillRows } from '../../../api/inference/row-protocols.ts'
import { createInputBuffer } from '../../../api/serving/codec/input-buffer.ts'
import { compileCells } from '../../../api/serving/codec/cell-reader.ts'
import { columnsOf } from '../../../api/serving/codec/feature-columns.ts'
import { compileChecks } from '../../../api/serving/codec/row-reader.ts'
import { irisFeatures, irisRow, irisSpec } from '../../support/serving/artifact.ts'
import { loadedOf, understood } from '../../support/serving/input-buffers.ts'

const order = ['petalWidth', 'sepalLength', 'petalLength', 'sepalWidth']
const plain = loadedOf(irisSpec())
const columns = columnsOf(irisFeatures, irisSpec().preprocessing, order)
const checks = compileChecks(irisFeatures, irisSpec().preprocessing)
const iris = { ...plain, columns, cells: compileCells(columns, checks) }
const list = order.map((name) => irisRow[name] as number)
const wanted = understood(plain, (input) =>
  fillRows(plain, { instances: [irisRow, irisRow], routingKey: undefined, reference: undefined }, input),
)
const bodyOf = (data: unknown[]) =>
  Buffer.from(JSON.stringify({ inputs: [{ name: 'x', shape: [2, 4], datatype: 'FP64', data }] }))

describe('rows without names in the order of the model file', () => {
  it('equal rows with names, as lists', () =>
    expect(
      understood(iris, (input) =>
        fillRows(
          iris,
          { instances: [list, list] as never[], routingKey: undefined, reference: undefined },
          input,
        ),
      ),
    ).toEqual(wanted))

  it.each([
    ['a matrix', [...list, ...list]],
    ['nested lists', [list, list]],
  ])('equal rows with names, as %s', (_, data) =>
    expect(understood(iris, (input) => readInfer(iris, bodyOf(data), undefined, input, 20))).toEqual(wanted),
  )

  it('name the features in this order when a row has another length', () =>
    expect(() =>
      fillRows(
        iris,
        { instances: [[1, 2]] as never[], routingKey: undefined, reference: undefined },
        createInputBuffer(),
      ),
    ).toThrow('send one for each of petalWidth, sepalLength, petalLength, sepalWidth, in this order'))
})

it.each([
  ['absent', undefined],
  ['short of a feature', order.slice(1)],
  ['of other features', [...order.slice(1), 'scent']],
])('rows without names have the order of the columns where that of the file is %s', (_, given) => {
  const { all, listed, places } = columnsOf(irisFeatures, irisSpec().preprocessing, given)
  expect([listed, [...places]]).toEqual([all, [0, 1, 2, 3]])
})
