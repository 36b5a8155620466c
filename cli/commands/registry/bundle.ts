/** `tenure bundle`: transfers a version to another installation as a signed file. */
import { gateVerdictText, outcomeText } from '../../../domain/evaluation/verdict-words.ts'
import { createPublicKey } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { BundleOrigin } from '../../../domain/model/bundle-origin.ts'
import { approversOf } from '../../../domain/release/approval.ts'
import { counted } from '../../../domain/figures.ts'
import { unreadable } from '../../client/client.ts'
import type { CommandGroup } from '../../program.ts'
import { shownMetrics } from '../format.ts'
import { evaluateAsOfOption } from '../lifecycle/training-options.ts'
import { printStarted, type StartedReply } from '../lifecycle/retrain.ts'

type ImportReply = StartedReply & { model: string; bundle: BundleOrigin }

export const bundleGroup: CommandGroup = {
  name: 'bundle',
  summary: 'Carry a version to another installation as a signed file',
  commands: [
    {
      name: 'export <version>',
      summary:
        'Write artifact, evaluation, approvals and lineage of a version to a file, signed by this installation',
      options: [['--to, --out <file>', 'File to write (default: <version>.bundle)']],
      examples: ['bundle export iris_v1.2.0 --out iris.bundle'],
      async run({ terminal }, { args, options }) {
        const version = String(args[0])
        const { openInstallation } = await import('../../backup/installation.ts')
        const { exportBundle } = await import('../../bundle/export-version.ts')
        const place = await openInstallation({ make: false })
        try {
          const file = resolve(String(options['out'] ?? `${version}.bundle`))
          const made = await exportBundle(place, { version, file })
          terminal.answer(
            made,
            `${made.file}: ${made.version}, ${(made.bytes / 1e6).toFixed(1)} MB, ${counted(made.approvals, 'approval')}`,
          )
        } finally {
          await place.close()
        }
      },
    },
    {
      name: 'import <file>',
      summary: 'Evaluate the version of a trusted bundle on the rows of this installation, and register it',
      options: [
        ['--note, --reason <text>', 'Reason, stored with the version'],
        evaluateAsOfOption,
        ['--watch', 'Show the stages until the end; exit code 6 if there is no new version'],
      ],
      examples: ['bundle import iris.bundle --watch'],
      async run(session, { args, options }) {
        const bytes = await readFile(resolve(String(args[0]))).catch((error: Error) => {
          throw unreadable(String(args[0]), error)
        })
        const form = new FormData()
        form.set('artifact', new Blob([new Uint8Array(bytes)]), 'bundle')
        if (options['reason'] !== undefined) form.set('note', String(options['reason']))
        if (options['asOf'] !== undefined) form.set('as_of', String(options['asOf']))
        const started = await session.api().postForm<ImportReply>('/v1/bundles', form)
        session.terminal.say(...linesOf(started.bundle))
        return printStarted(session, {
          model: started.model,
          started,
          watch: options['watch'] === true,
          doing: [`Evaluating the version of ${started.model}`, 'the evaluation'],
        })
      },
    },
    {
      name: 'key',
      summary: 'Print the public key that signs the bundles of this installation',
      examples: ['bundle key > staging.pem'],
      async run({ terminal }) {
        const { openInstallation } = await import('../../backup/installation.ts')
        const { openCommonSigner } = await import('../../../store/signing/signing-key.ts')
        const { fingerprintOf } = await import('../../../store/bundles/trusted-signers.ts')
        const place = await openInstallation({ make: false })
        try {
          const { publicPem } = await openCommonSigner(place.config.signing, 'artifacts')
          terminal.answer(
            { public_key: publicPem, fingerprint: fingerprintOf(createPublicKey(publicPem)) },
            publicPem.trimEnd(),
          )
        } finally {
          await place.close()
        }
      },
    },
  ],
}

/** Describes the evidence from the source installation. Its approvals do not count here. */
function linesOf({ version, signer, evaluation, releases }: BundleOrigin): string[] {
  const measured = Object.entries(evaluation.metrics).flatMap(([name, value]) =>
    value === null ? [] : [name],
  )
  const metrics = shownMetrics(measured).map(
    (name) => `${name} ${Number(evaluation.metrics[name]!.toPrecision(4))}`,
  )
  return [
    `${version}, signed by ${signer}: ${[gateVerdictText(evaluation.verdict, { isFirst: evaluation.baseline === undefined }), ...metrics].join(', ')} there`,
    ...releases.map(
      ({ id, outcome, approvals }) =>
        `  release ${id} ${outcomeText(outcome ?? 'open')}; approved there by ${approversOf(approvals).join(', ') || 'no user'}`,
    ),
    'It is evaluated again on the rows of this installation; approvals of the source do not count here.',
  ]
}
