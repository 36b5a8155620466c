/** Sends one message to one channel. Throws if it was not delivered; the caller retries. */
import { createTransport } from 'nodemailer'
import { Webhook } from 'standardwebhooks'
import { guidanceOf, noticeKinds } from '../domain/monitoring/alert-kinds.ts'
import type { ChannelTarget } from '../domain/monitoring/alert-escalation.ts'
import { boundedText } from '../store/bounded-text.ts'
import { alertText, alertParts, titleOf, type Message } from './message.ts'
import { opsgenieAlert, pagerdutyEvent, slackMessage, teamsMessage } from './channels.ts'
import type { SentAs } from '../store/monitoring/notifications.ts'
import { outgoingFetch } from '../store/outgoing-fetch.ts'

/** Timeout, so that one channel does not delay the others. */
const sendMs = 10_000
/** The number of bytes read from a response, for an error message. */
const maxResponseBytes = 1_000

export async function send(target: ChannelTarget, message: Message): Promise<void> {
  switch (target.kind) {
    case 'slack':
      return post(target.url, slackMessage(message, target.signingSecret !== undefined))
    case 'teams':
      return post(target.url, teamsMessage(message))
    case 'pagerduty': {
      const { path, body } = pagerdutyEvent(target.routingKey, message)
      return post(under(target.url, path), body)
    }
    case 'opsgenie': {
      const { path, body } = opsgenieAlert(message)
      return post(under(target.url, path), body, { authorization: `GenieKey ${target.apiKey}` })
    }
    case 'webhook':
      return postSigned(target, message)
    case 'alertmanager':
      return post(under(target.url, '/api/v2/alerts'), alertmanagerAlerts(message))
    case 'email':
      return mail(target, message)
    default:
      return target satisfies never
  }
}

const under = (url: string, path: string): string => `${url.replace(/\/$/, '')}${path}`

/** Equal for every attempt. After a restore, numbers of messages begin again, so the alert belongs to it too. */
const messageId = ({ id, about, alert }: Message): string =>
  `msg_${id}_${about}_${Date.parse(alert.raisedAt).toString(36)}`

/** Posts the alert with its evidence as signed JSON. */
async function postSigned(
  { url, secret }: { url: string; secret?: string },
  message: Message,
): Promise<void> {
  const { about, alert, link, runbook } = message
  const { title, body: lines } = alertParts(message)
  const body = JSON.stringify({ about, alert, link, runbook, title, text: lines.join('\n') })
  const sentAt = new Date()
  const id = messageId(message)
  const headers = {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(sentAt.getTime() / 1_000)),
    ...(secret === undefined ? {} : { 'webhook-signature': new Webhook(secret).sign(id, sentAt, body) }),
  }
  await post(url, body, headers)
}

/**
 * Formats an alert for Alertmanager, which identifies it by its labels. An alert whose kind or severity has changed is another one there,
 * so the former one ends.
 */
function alertmanagerAlerts({ alert, former, link, runbook }: Message): object[] {
  const { dedupeKey, kind, model, severity, message, raisedAt, resolvedAt } = alert
  const labelsOf = (sent: SentAs) => ({
    alertname: sent.kind,
    tenure_matter: dedupeKey,
    severity: sent.severity,
    model,
  })
  const current = {
    labels: labelsOf(alert),
    annotations: { summary: message, description: guidanceOf(alert).join(' '), runbook_url: runbook },
    startsAt: raisedAt,
    // A notice gets no end time: Alertmanager would drop an ended alert.
    endsAt: noticeKinds.has(kind) ? undefined : resolvedAt,
    generatorURL: link,
  }
  if (former === undefined || (former.kind === kind && former.severity === severity)) return [current]
  return [current, { ...current, labels: labelsOf(former), endsAt: new Date().toISOString() }]
}

async function post(url: string, body: object | string, headers: Record<string, string> = {}): Promise<void> {
  const answer = await outgoingFetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    // An address other than the configured one must receive no alert and no signature.
    redirect: 'manual',
    signal: AbortSignal.timeout(sendMs),
  })
  const response = await boundedText(answer, maxResponseBytes)
  if (answer.status >= 300 && answer.status < 400)
    throw new Error(
      `the channel responded ${answer.status} and names another address, which is not followed: enter the final address`,
    )
  if (!answer.ok) throw new Error(`the channel responded ${answer.status}: ${response}`)
}

async function mail(
  { smtp, from, to }: Extract<ChannelTarget, { kind: 'email' }>,
  message: Message,
): Promise<void> {
  const transport = createTransport({
    url: smtp,
    connectionTimeout: sendMs,
    greetingTimeout: sendMs,
    socketTimeout: sendMs,
  })
  try {
    await transport.sendMail({ from, to: [...to], subject: titleOf(message), text: alertText(message) })
  } finally {
    transport.close()
  }
}
