/** Sends one message to one channel. Throws if it was not delivered; the caller retries. */
import { createTransport } from 'nodemailer'
import { Webhook } from 'standardwebhooks'
import { percentDecoded } from '../../../domain/addresses/percent-decoded.ts'
import { guidanceOf, noticeKinds } from '../../../domain/monitoring/alert-kinds.ts'
import type { ChannelTarget } from '../../../domain/monitoring/alert-escalation.ts'
import { alertText, alertParts, titleOf, type Message } from './message.ts'
import { opsgenieAlert, pagerdutyEvent, slackMessage, teamsMessage } from './channels.ts'
import type { SentAs } from '../../../store/monitoring/notifications.ts'
import { outgoingSocket, type PrivateHosts } from '../../../store/outgoing-address.ts'
import { outgoingFetch } from '../../../store/outgoing-fetch.ts'

/** Timeout, so that one channel does not delay the others. */
const sendMs = 10_000
/** How long a mail may take in all. */
const mailMs = 60_000

/** The errors name the status of an answer and nothing else of it, because they are stored and shown. */
export async function send(
  target: ChannelTarget,
  message: Message,
  privateHosts: PrivateHosts,
): Promise<void> {
  const post = postVia(privateHosts)
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
      return post(target.url, ...signed(target, message))
    case 'alertmanager':
      return post(under(target.url, '/api/v2/alerts'), alertmanagerAlerts(message))
    case 'email':
      return mail(target, message, privateHosts)
    default:
      return target satisfies never
  }
}

const under = (url: string, path: string): string => `${url.replace(/\/$/, '')}${path}`

/** Equal for every attempt. After a restore, numbers of messages begin again, so the alert belongs to it too. */
const messageId = ({ id, about, alert }: Message): string =>
  `msg_${id}_${about}_${Date.parse(alert.raisedAt).toString(36)}`

/** Returns the alert with its evidence as JSON, and the headers with its signature. */
function signed(
  { secret }: { secret?: string },
  message: Message,
): [body: string, headers: Record<string, string>] {
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
  return [body, headers]
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

const postVia =
  (privateHosts: PrivateHosts) =>
  async (url: string, body: object | string, headers: Record<string, string> = {}): Promise<void> => {
    const answer = await outgoingFetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
      privateHosts,
      maxBytes: 0,
      maxMs: sendMs,
    })
    const { ok, status } = answer
    await answer.discard()
    if (status >= 300 && status < 400)
      throw new Error(
        `the channel responded ${status} and names another address, which is not followed: enter the final address`,
      )
    if (!ok) throw new Error(`the channel responded ${status}`)
  }

async function mail(
  { smtp, from, to }: Extract<ChannelTarget, { kind: 'email' }>,
  message: Message,
  privateHosts: PrivateHosts,
): Promise<void> {
  const { protocol, hostname, port, username, password } = new URL(smtp)
  const secure = protocol === 'smtps:'
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  const place = { host, port: Number(port) || (secure ? 465 : 587) }
  const connection = await outgoingSocket(place, { privateHosts, maxMs: sendMs })
  // Only these parts of the address are used: the library would take any of its options from a query, a program to run among them.
  const transport = createTransport({
    ...place,
    secure,
    ...(username === '' ? {} : { auth: { user: percentDecoded(username), pass: percentDecoded(password) } }),
    getSocket: (_, use) => use(null, { connection }),
    connectionTimeout: sendMs,
    greetingTimeout: sendMs,
    socketTimeout: sendMs,
  })
  const deadline = setTimeout(() => connection.destroy(new Error(`not sent within ${mailMs} ms`)), mailMs)
  try {
    await transport.sendMail({ from, to: [...to], subject: titleOf(message), text: alertText(message) })
  } catch (error) {
    const { code, responseCode } = error as { code?: string; responseCode?: number }
    throw responseCode === undefined
      ? error
      : new Error(`the mail server responded ${responseCode} (${code})`, { cause: undefined })
  } finally {
    clearTimeout(deadline)
    connection.destroy()
    transport.close()
  }
}
