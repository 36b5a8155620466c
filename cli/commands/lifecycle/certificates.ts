/** `tenure certificates`: exports the signed certificate of a release, and prints the keys that verify it. */
import { createPublicKey } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { CertificateFile } from '../../../domain/release/certificate.ts'
import { path, usageError } from '../../client/client.ts'
import type { CommandGroup } from '../../program.ts'
import { findReleaseId } from './release-commands.ts'

export const certificatesGroup: CommandGroup = {
  name: 'certificates',
  summary: 'Export what proves a release to readers outside',
  commands: [
    {
      name: 'export <release>',
      summary: 'Write the signed certificate of an ended release to a file',
      options: [['--to, --out <file>', 'File to write (default: <release>.certificate.json)']],
      examples: ['certificates export rel_01h…', 'certificates export iris --out iris.certificate.json'],
      async run({ terminal, api }, { args, options }) {
        const id = await findReleaseId(api(), String(args[0]))
        const certificate = await api().get<CertificateFile>(path`/v1/releases/${id}/certificate`)
        const file = resolve(String(options['out'] ?? `${id}.certificate.json`))
        await writeFile(file, `${JSON.stringify(certificate, null, 1)}\n`, { flag: 'wx' }).catch(
          (error: NodeJS.ErrnoException) => {
            throw usageError(
              error.code === 'EEXIST'
                ? `${file} already exists`
                : `${file} is not writable: ${error.message}`,
              'Name another file. Existing files are not overwritten.',
            )
          },
        )
        const { release, decisions } = certificate.statement.predicate
        const verdicts = decisions.length
        terminal.answer(
          { file, release: id, version: release.version, verdicts },
          `${file}: ${release.version}, ${verdicts} verdicts with their counts`,
        )
      },
    },
    {
      name: 'key',
      summary: 'Print the public keys that verify the certificates of this installation',
      examples: ['certificates key > tenure-keys.pem'],
      async run({ terminal }) {
        const { openInstallation } = await import('../../backup/installation.ts')
        const { listTrusted } = await import('../../../store/signing/key-files.ts')
        const { fingerprintOf } = await import('../../../store/bundles/trusted-signers.ts')
        const place = await openInstallation({ make: false })
        try {
          const keys = (['certificates', 'heads'] as const).flatMap((purpose) =>
            listTrusted(place.config.signing, purpose).map(({ publicPem }) => ({
              purpose,
              public_key: publicPem,
              fingerprint: fingerprintOf(createPublicKey(publicPem)),
            })),
          )
          terminal.answer(
            { keys },
            keys.map(({ purpose, public_key: pem }) => `# ${purpose}\n${pem.trimEnd()}`).join('\n'),
          )
        } finally {
          await place.close()
        }
      },
    },
  ],
}
