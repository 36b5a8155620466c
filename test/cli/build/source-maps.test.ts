/** Tests which errors cause a source map to be read. */
import { execFile } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { checkout } from '../../../temporal.config.ts'

it('a source map is read for an error of the process, and not for one of another context, which keeps its frames', async () => {
  const script = `
    import { runInNewContext } from 'node:vm'
    import { addSourceMap, showSources } from '${pathToFileURL(join(checkout, 'cli/build/source-maps.mjs')).href}'
    let reads = 0
    addSourceMap(import.meta.url, () => {
      reads++
      return { version: 3, sources: ['${import.meta.url}'], mappings: 'AAAA' }
    })
    showSources('file:///none')
    const failed = (work) => { try { work() } catch (error) { return { stack: error.stack, reads } } }
    const other = failed(function inOther() { runInNewContext('missing.part') })
    const own = failed(function inOwn() { throw new TypeError('own') })
    process.stdout.write(JSON.stringify({ other, own }))`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
    cwd: tmpdir(),
  })
  const { other, own } = JSON.parse(stdout) as Record<'other' | 'own', { stack: string; reads: number }>
  expect(other).toEqual({ stack: expect.stringMatching(/missing is not defined[^]* at inOther /), reads: 0 })
  expect(own).toEqual({
    stack: expect.stringMatching(/TypeError: own\n +at inOwn .*source-maps\.test\.ts/),
    reads: 1,
  })
})
