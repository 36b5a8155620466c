/** Tests the answers that `npm run score` prints. */
import { execFileSync } from 'node:child_process'
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
