/** Makes the certificate of an ended release from its rows, and signs it. Names of persons, and what they wrote, are left out. */
import { createPublicKey } from 'node:crypto'
import { DomainError } from '../../domain/errors.ts'
import {
  certificateIssues,
  envelopeHead,
  payloadType,
  policyWithoutNames,
  statementOf,
  type CertificateFile,
  type CertifiedDecision,
  type CertifiedEvent,
  type Participant,
  type ReleaseCertificate,
} from '../../domain/release/certificate.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import { digestOfJson } from '../../store/artifacts.ts'
import { listAudit } from '../../store/audit/audit-log.ts'
import { fingerprintOf } from '../../store/bundles/trusted-signers.ts'
import type { Database } from '../../store/postgres.ts'
import { getVersion } from '../../store/registry/versions.ts'
import { listEndingDecisions } from '../../store/release/decisions.ts'
import type { Signer } from '../../store/signing/signing-key.ts'
import { getEvaluation } from '../../store/training/evaluations.ts'
import type { ApiDeps } from '../deps.ts'
import { getRelease } from './release-commands.ts'

/** Throws `command_refused` for an open release, and for one whose rows do not agree. */
export async function certifyRelease(
  { store, heads, certificateSigner }: Pick<ApiDeps, 'store' | 'heads' | 'certificateSigner'>,
  id: string,
): Promise<CertificateFile> {
  const { state, outcome, startedAt, endedAt } = await getRelease(store, id)
  if (outcome === undefined || endedAt === undefined)
    throw new DomainError('command_refused', `${id} is open: a certificate is of a release that has ended`)
  const version = await getVersion(store, state.version)
  const evaluation = await getEvaluation(store, version.evaluationId)
  const events = await eventsOf(store, state)
  const head = await heads.last()
  const last = events.at(-1)?.seq ?? 0
  if (head === undefined || head.seq < last)
    throw new DomainError(
      'command_refused',
      `no head of the audit log is signed behind row ${last} yet: a running control worker signs it within seconds`,
    )
  const participants = new Map<string, Participant>()
  const participant = (name: string): Participant => {
    const known = participants.get(name) ?? (`participant-${participants.size + 1}` as const)
    participants.set(name, known)
    return known
  }
  const { lineage } = version
  const { report, inputs, artifactDigest, baselineVersion } = evaluation
  const { seq, hash, at, signature } = head
  const certificate: ReleaseCertificate = {
    issuedAt: new Date().toISOString(),
    release: {
      id,
      model: state.model,
      version: state.version,
      baseline: state.baseline,
      strategy: state.strategy,
      outcome,
      startedAt,
      endedAt,
      requestedBy: participant(state.requestedBy),
      hotfix: state.hotfix !== undefined,
      breakGlass: state.breakGlass !== undefined,
      drill: state.drill,
    },
    digests: {
      ...state.digests,
      snapshot: lineage.snapshot,
      ...(lineage.origin === undefined && { modelFile: lineage.code }),
    },
    approvals: state.approvals.map(({ by, atMs, digests = state.digests }) => ({
      by: participant(by),
      at: new Date(atMs).toISOString(),
      digests,
    })),
    policy: policyWithoutNames(state.policy, participant),
    gate: { report, inputs, artifactDigest, baseline: baselineVersion ?? null },
    decisions: (await listEndingDecisions(store, id)).map(decisionOf),
    events,
    auditHead: { seq, hash, at, signature },
  }
  // As a reader gets it: without absent fields.
  const read = JSON.parse(JSON.stringify(certificate)) as ReleaseCertificate
  const [issue] = certificateIssues(read, digestOfJson)
  if (issue !== undefined)
    throw new DomainError('command_refused', `${id} has no certificate: ${issue.field} ${issue.message}`)
  return signStatement(certificateSigner, read)
}

const pinnedText = 'a kill switch kept the candidate from traffic'

function decisionOf({
  stage,
  stageIndex,
  at,
  verdict,
  inputs,
  evidence,
}: Awaited<ReturnType<typeof listEndingDecisions>>[number]): CertifiedDecision {
  const decision = { stage, stageIndex, at, verdict, inputs, evidence }
  if (evidence.pinned === undefined) return decision
  // The text names who has set the switch, and why.
  const reasons = verdict.reasons.map((each) =>
    each.message === evidence.pinned ? { ...each, message: pinnedText } : each,
  )
  return { ...decision, verdict: { ...verdict, reasons }, evidence: { ...evidence, pinned: pinnedText } }
}

/** A release has few rows of its own; those of its champion name it. */
const maxRows = 10_000

async function eventsOf(database: Database, { id, version }: ReleaseState): Promise<CertifiedEvent[]> {
  const [own, ofVersion] = await Promise.all([
    listAudit(database, { subject: id, limit: maxRows }),
    listAudit(database, { subject: version, action: 'champion.', limit: maxRows }),
  ])
  return [...own, ...ofVersion.filter(({ detail }) => (detail as { release?: string }).release === id)]
    .toSorted((one, other) => one.seq - other.seq)
    .map(({ seq, at, action, previousHash, hash }) => ({ seq, at, action, previousHash, hash }))
}

/** Puts a certificate into its signed envelope. */
export function signStatement(
  signer: Pick<Signer, 'sign' | 'publicPem'>,
  certificate: ReleaseCertificate,
): CertificateFile {
  const statement = statementOf(certificate)
  const payload = Buffer.from(JSON.stringify(statement))
  const signed = Buffer.concat([Buffer.from(envelopeHead(payload.byteLength)), payload])
  return {
    statement,
    envelope: {
      payloadType,
      payload: payload.toString('base64'),
      signatures: [
        {
          keyid: fingerprintOf(createPublicKey(signer.publicPem)),
          sig: signer.sign(signed).toString('base64'),
        },
      ],
    },
  }
}
