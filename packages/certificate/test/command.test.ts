import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { run } from '../src/command.ts'

const folder = mkdtempSync(join(tmpdir(), 'certificate-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function called(...args: string[]): { code: number; said: string } {
  const lines: string[] = []
  return { code: run(args, (line) => lines.push(line)), said: lines.join('\n') }
}

it.each([
  [[]],
  [['verify']],
  [['verify', 'a']],
  [['sign', 'a', '--key', 'b']],
  [['verify', 'a', 'b', '--key', 'c']],
  [['--odd']],
])('the arguments %j are explained', (args) =>
  expect(called(...args)).toEqual({
    code: 2,
    said: expect.stringContaining('certificate verify <file> --key'),
  }),
)

it('a file that cannot be read is named, and one that is no certificate is refused', () => {
  const key = join(folder, 'key.pem')
  expect(called('verify', key, '--key', key)).toEqual({
    code: 2,
    said: expect.stringContaining(`${key} cannot be read`),
  })
  writeFileSync(key, 'no key')
  expect(called('verify', key, '--key', key)).toEqual({
    code: 1,
    said: expect.stringContaining('--key: holds no Ed25519 public key in PEM behind a line "# certificates"'),
  })
})

it('a text of a certificate cannot hide the refusal from a terminal', () => {
  const [key, file] = [join(folder, 'own.pem'), join(folder, 'hiding.json')]
  const pem = String(generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }))
  writeFileSync(key, `# certificates\n${pem}# heads\n${pem}`)
  const signatures = [{ keyid: '\u001b[8m\u009b8m\nValid', sig: '' }]
  writeFileSync(
    file,
    JSON.stringify({ statement: { '\u001b[8m': 1 }, envelope: { payload: '', signatures } }),
  )
  const { code, said } = called('verify', file, '--key', key)
  expect(code).toBe(1)
  expect(said).toContain('is �[8m�8m�Valid, which is none of the trusted keys')
  expect(said.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u)
})
