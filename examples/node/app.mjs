// An app that sells a subscription and looks up a user's tier. Stripe's webhooks do not come here: they go to the gateway, which writes
// public.subscriptions. Settings: DATABASE_URL, STRIPE_SECRET_KEY, STRIPE_PRICE_GOLD, APP_URL, PORT.
import { createServer } from 'node:http';
import pg from 'pg';

const { DATABASE_URL, STRIPE_SECRET_KEY, STRIPE_PRICE_GOLD, APP_URL = 'http://localhost:3000', PORT = '3000' } = process.env;
const pool = new pg.Pool({ connectionString: DATABASE_URL });

/** The user's tier now: 'free', or what they have paid for. */
export async function tierOf(user) {
  const { rows } = await pool.query(
    `SELECT tier FROM public.subscriptions WHERE user_id::text = $1 AND status = 'active' LIMIT 1`, [user]);
  return rows[0]?.tier ?? 'free';
}

/** Stripe's page where the user pays. The subscription's metadata tells the gateway whose payment it is. */
async function checkout(user) {
  const answer = await fetch('https://api.stripe.com/v1/checkout/sessions', {
    method: 'POST',
    headers: { authorization: `Bearer ${STRIPE_SECRET_KEY}` },
    body: new URLSearchParams({
      mode: 'subscription',
      'line_items[0][price]': STRIPE_PRICE_GOLD,
      'line_items[0][quantity]': '1',
      'subscription_data[metadata][userId]': user,
      'metadata[userId]': user,
      success_url: `${APP_URL}/me`,
      cancel_url: APP_URL,
    }),
  });
  if (!answer.ok) throw new Error(`Stripe says ${answer.status}: ${await answer.text()}`);
  return (await answer.json()).url;
}

createServer(async (request, response) => {
  // Your own sign-in identifies the user; this example uses a header.
  const user = request.headers['x-user'];
  try {
    if (!user) {
      response.writeHead(401).end();
    } else if (request.method === 'GET' && request.url === '/me') {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ user, tier: await tierOf(user) }));
    } else if (request.method === 'POST' && request.url === '/buy') {
      response.writeHead(303, { location: await checkout(user) }).end();
    } else {
      response.writeHead(404).end();
    }
  } catch (fault) {
    console.error(fault);
    response.writeHead(502).end();
  }
}).listen(Number(PORT), '127.0.0.1');
