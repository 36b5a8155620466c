/** Runs `certificate verify <file> --key <file>`. */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { verifyCertificate } from './index.ts'

const usage = `Verify the certificate of a release, offline.

  certificate verify <file> --key <public keys>

The key file holds the public keys of the installation, which you got from it by another way than the certificate
(\`tenure certificates key\`). Exit code 0: it is valid. 1: it is not. 2: wrong arguments.`

/** Returns the exit code. */
export function run(args: readonly string[], say: (line: string) => void): number {
  const [file, key] = readArguments(args)
  if (file === undefined || key === undefined) {
    say(usage)
    return 2
  }
  const texts: string[] = []
  for (const path of [file, key])
    try {
      texts.push(readFileSync(path, 'utf8'))
    } catch (error) {
      say(`${path} cannot be read: ${(error as Error).message}`)
      return 2
    }
  const { summary, issues } = verifyCertificate(texts[0]!, texts[1]!)
  for (const { field, message } of issues) say(plain(`${field}: ${message}`))
  say(issues.length === 0 ? plain(summary) : 'The certificate is NOT valid.')
  return issues.length === 0 ? 0 : 1
}

/** Texts of a certificate may not hide what a terminal shows. */
const plain = (text: string): string => text.replace(/\p{C}/gu, '�')

function readArguments(args: readonly string[]): [file?: string, key?: string] {
  try {
    const { positionals, values } = parseArgs({
      args: [...args],
      options: { key: { type: 'string' } },
      allowPositionals: true,
    })
    const [verb, file, more] = positionals
    return verb === 'verify' && more === undefined ? [file, values.key] : []
  } catch {
    return []
  }
}
