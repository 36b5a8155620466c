/** Tests the answers that `npm run score` prints. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { model, graph, node } from '../../../support/formats/onnx-writer.ts'

it('answers that are not finite are printed as rows hold them, not as missing', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenure-score-'))
  try {
    const [artifact, rows] = [join(folder, 'model.onnx'), join(folder, 'rows.json')]
    writeFileSync(artifact, model(graph({ nodes: [node({ op: 'Log', inputs: ['x'], outputs: ['y'] })] })))
    writeFileSync(rows, '[[0], [1], ["inf"], [-1]]')
    const options = ['--import', 'tsx', 'scripts/formats/score.ts', '--artifact', artifact, '--rows', rows]
    expect(execFileSync(process.execPath, options, { encoding: 'utf8' })).toBe('"-inf"\n0\n"inf"\n"nan"\n')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

it('rows that cannot be answered are refused with their number and what to write', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenure-score-'))
  try {
    const [artifact, rows, pipe] = ['model.onnx', 'rows.json', 'pipe'].map((name) => join(folder, name))
    writeFileSync(artifact!, model(graph({ nodes: [node({ op: 'Log', inputs: ['x'], outputs: ['y'] })] })))
    execFileSync('mkfifo', [pipe!])
    const refusalOf = (text: string, from = rows!) => {
      writeFileSync(rows!, text)
      const options = ['--import', 'tsx', 'scripts/formats/score.ts', '--artifact', artifact!, '--rows', from]
      return spawnSync(process.execPath, options, { encoding: 'utf8', timeout: 60_000 }).stderr
    }
    expect(refusalOf('[[NaN]]')).toContain('null for a missing value and "inf" for an infinite one')
    expect(refusalOf('[{"x": 1}, {"X": 2}]')).toContain('row 1: the model has no column "X"; it has x')
    expect(refusalOf('[{"x": 1, "x": 2}]')).toContain('has the key "x" twice in one object')
    expect(refusalOf('[]', pipe)).toContain('pipe is not a regular file')
    expect(refusalOf('[]', join(folder, 'rows'))).toBe(`there is no file ${join(folder, 'rows')}\n`)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
