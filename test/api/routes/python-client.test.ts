import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { pythonClientRoutes } from '../../../api/routes/python-client.ts'
import { checkout } from '../../../temporal.config.ts'

const [page, file] = pythonClientRoutes()
const ask = async (route: typeof page, params: Record<string, string> = {}) =>
  route!.handle!({ params } as unknown as Parameters<NonNullable<NonNullable<typeof page>['handle']>>[0])

it('the page links to a wheel, whose sources are those of the package, by its SHA-256', async () => {
  const { text, type } = await ask(page)
  expect(type).toBe('text/html; charset=utf-8')
  const [, name, sha256] = /href="python\/(tenure-0\.1\.0-py3-none-any\.whl)#sha256=([0-9a-f]{64})"/.exec(
    String(text),
  )!
  const { text: bytes } = await ask(file, { file: name! })
  expect(createHash('sha256').update(bytes!).digest('hex')).toBe(sha256)
  const folder = mkdtempSync(join(tmpdir(), 'tenure-wheel-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, name!), bytes!)
  execFileSync('python3', ['-m', 'zipfile', '-e', join(folder, name!), folder])
  for (const module of ['__init__.py', '_client.py', '_tables.py', 'py.typed'])
    expect(readFileSync(join(folder, 'tenure', module))).toEqual(
      readFileSync(join(checkout, 'packages', 'python', 'src', 'tenure', module)),
    )
})

it('another file is refused with the name of the one that is there', async () => {
  await expect(ask(file, { file: 'tenure-0.0.9-py3-none-any.whl' })).rejects.toMatchObject({
    code: 'not_found',
    message: expect.stringContaining('this version offers tenure-0.1.0-py3-none-any.whl') as string,
  })
})
