-- A payment beside the past of its card, account, device, merchant, terminal and payee.
-- The log holds more than payments, so every window says which kind of event it means. A transfer has no card and a
-- payment at a counter no device: a window over such a key stands inside CASE WHEN ... IS NOT NULL.
WITH seen AS (
    SELECT
        *,

        -- The card: how fast, how much, how unlike itself.
        CASE WHEN card_id IS NOT NULL THEN
            count(*) FILTER (WHERE kind = 'payment') OVER card_10m END AS card_count_10m,
        CASE WHEN card_id IS NOT NULL THEN
            count(*) FILTER (WHERE kind = 'payment') OVER card_1h END AS card_count_1h,
        CASE WHEN card_id IS NOT NULL THEN
            count(*) FILTER (WHERE kind = 'payment') OVER card_24h END AS card_count_24h,
        CASE WHEN card_id IS NOT NULL THEN
            count(*) FILTER (WHERE kind = 'payment') OVER card_30d END AS card_count_30d,
        CASE WHEN card_id IS NOT NULL THEN
            sum(amount) FILTER (WHERE kind = 'payment') OVER card_1h END AS card_amount_1h,
        CASE WHEN card_id IS NOT NULL THEN
            sum(amount) FILTER (WHERE kind = 'payment') OVER card_24h END AS card_amount_24h,
        CASE WHEN card_id IS NOT NULL THEN
            sum(amount) FILTER (WHERE kind = 'payment') OVER card_7d END AS card_amount_7d,
        CASE WHEN card_id IS NOT NULL THEN
            avg(amount) FILTER (WHERE kind = 'payment') OVER card_past END AS card_mean_30d,
        CASE WHEN card_id IS NOT NULL THEN
            stddev_samp(amount) FILTER (WHERE kind = 'payment') OVER card_past END AS card_stddev_30d,
        CASE WHEN card_id IS NOT NULL THEN
            max(amount) FILTER (WHERE kind = 'payment') OVER card_past END AS card_max_30d,
        CASE WHEN card_id IS NOT NULL THEN
            count(*) FILTER (WHERE kind = 'payment' AND amount < 1200) OVER card_1h END AS card_small_1h,
        CASE WHEN card_id IS NOT NULL THEN
            count(DISTINCT merchant_id) FILTER (WHERE kind = 'payment') OVER card_24h END AS card_merchants_24h,
        CASE WHEN card_id IS NOT NULL THEN
            last_value(CASE WHEN kind = 'payment' THEN event_time END IGNORE NULLS) OVER card_past END AS card_last_time,
        CASE WHEN card_id IS NOT NULL THEN
            count(*) FILTER (WHERE kind = 'outcome' AND outcome = 'decline') OVER card_24h END AS card_declines_24h,
        CASE WHEN card_id IS NOT NULL THEN
            sum(label_delta) FILTER (WHERE kind = 'label') OVER card_30d END AS card_frauds_30d,
        CASE WHEN card_id IS NOT NULL AND merchant_id IS NOT NULL THEN
            count(*) FILTER (WHERE kind = 'payment') OVER card_merchant_past END AS card_merchant_count_30d,

        -- The merchant and its terminal: how busy, how dear, how often fraud was reported of them.
        CASE WHEN merchant_id IS NOT NULL THEN
            count(*) FILTER (WHERE kind = 'payment') OVER merchant_1h END AS merchant_count_1h,
        CASE WHEN merchant_id IS NOT NULL THEN
            count(*) FILTER (WHERE kind = 'payment' AND amount < 200) OVER merchant_1h END AS merchant_tiny_1h,
        CASE WHEN merchant_id IS NOT NULL THEN
            avg(amount) FILTER (WHERE kind = 'payment') OVER merchant_7d END AS merchant_mean_7d,
        CASE WHEN merchant_id IS NOT NULL THEN
            sum(label_delta) FILTER (WHERE kind = 'label') OVER merchant_28d END AS merchant_frauds_28d,
        CASE WHEN terminal_id IS NOT NULL THEN
            count(*) FILTER (WHERE kind = 'payment') OVER terminal_24h END AS terminal_count_24h,
        CASE WHEN terminal_id IS NOT NULL THEN
            avg(amount) FILTER (WHERE kind = 'payment') OVER terminal_28d END AS terminal_mean_28d,
        CASE WHEN terminal_id IS NOT NULL THEN
            sum(label_delta) FILTER (WHERE kind = 'label') OVER terminal_28d END AS terminal_frauds_28d,

        -- The device: one person's, or a fraudster's.
        CASE WHEN device_id IS NOT NULL THEN
            count(*) FILTER (WHERE kind = 'payment') OVER device_1h END AS device_count_1h,
        CASE WHEN device_id IS NOT NULL THEN
            count(DISTINCT account_id) FILTER (WHERE kind IN ('payment', 'login')) OVER device_7d END AS device_accounts_7d,
        CASE WHEN device_id IS NOT NULL AND account_id IS NOT NULL THEN
            count(*) FILTER (WHERE kind IN ('payment', 'login')) OVER account_device_past END AS account_device_count_30d,

        -- The account: what goes out, to whom, what came in, what was changed just before.
        CASE WHEN account_id IS NOT NULL THEN
            count(*) FILTER (WHERE kind = 'payment' AND channel = 'transfer') OVER account_1h END AS account_transfers_1h,
        CASE WHEN account_id IS NOT NULL THEN
            sum(amount) FILTER (WHERE kind = 'payment') OVER account_24h END AS account_amount_24h,
        CASE WHEN account_id IS NOT NULL THEN
            count(*) FILTER (WHERE kind = 'new_payee') OVER account_24h END AS account_new_payees_24h,
        CASE WHEN account_id IS NOT NULL THEN
            count(*) FILTER (WHERE kind = 'limit_change') OVER account_24h END AS account_limit_changes_24h,
        CASE WHEN account_id IS NOT NULL THEN
            sum(amount) FILTER (WHERE kind = 'credit') OVER account_24h END AS account_credits_24h,
        CASE WHEN account_id IS NOT NULL THEN
            count(DISTINCT payee_id) FILTER (WHERE kind = 'credit') OVER account_24h END AS account_senders_24h,
        CASE WHEN account_id IS NOT NULL AND payee_id IS NOT NULL THEN
            count(*) FILTER (WHERE kind = 'payment') OVER account_payee_past END AS account_payee_count_90d,

        -- The payee: how many pay it, and what is known of it.
        CASE WHEN payee_id IS NOT NULL THEN
            count(DISTINCT account_id) FILTER (WHERE kind = 'payment') OVER payee_24h END AS payee_senders_24h,
        CASE WHEN payee_id IS NOT NULL THEN
            sum(label_delta) FILTER (WHERE kind = 'label') OVER payee_90d END AS payee_frauds_90d
    FROM events
    WINDOW
        card AS (PARTITION BY card_id ORDER BY event_time),
        card_10m AS (card RANGE BETWEEN INTERVAL 10 MINUTE PRECEDING AND CURRENT ROW),
        card_1h AS (card RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW),
        card_24h AS (card RANGE BETWEEN INTERVAL 24 HOUR PRECEDING AND CURRENT ROW),
        card_7d AS (card RANGE BETWEEN INTERVAL 7 DAY PRECEDING AND CURRENT ROW),
        card_30d AS (card RANGE BETWEEN INTERVAL 30 DAY PRECEDING AND CURRENT ROW),
        card_past AS (card RANGE BETWEEN INTERVAL 30 DAY PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW),
        card_merchant AS (PARTITION BY card_id, merchant_id ORDER BY event_time),
        card_merchant_past AS (card_merchant RANGE BETWEEN INTERVAL 30 DAY PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW),
        merchant AS (PARTITION BY merchant_id ORDER BY event_time),
        merchant_1h AS (merchant RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW),
        merchant_7d AS (merchant RANGE BETWEEN INTERVAL 7 DAY PRECEDING AND CURRENT ROW),
        merchant_28d AS (merchant RANGE BETWEEN INTERVAL 28 DAY PRECEDING AND CURRENT ROW),
        terminal AS (PARTITION BY terminal_id ORDER BY event_time),
        terminal_24h AS (terminal RANGE BETWEEN INTERVAL 24 HOUR PRECEDING AND CURRENT ROW),
        terminal_28d AS (terminal RANGE BETWEEN INTERVAL 28 DAY PRECEDING AND CURRENT ROW),
        device AS (PARTITION BY device_id ORDER BY event_time),
        device_1h AS (device RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW),
        device_7d AS (device RANGE BETWEEN INTERVAL 7 DAY PRECEDING AND CURRENT ROW),
        account_device AS (PARTITION BY account_id, device_id ORDER BY event_time),
        account_device_past AS (account_device RANGE BETWEEN INTERVAL 30 DAY PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW),
        account AS (PARTITION BY account_id ORDER BY event_time),
        account_1h AS (account RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW),
        account_24h AS (account RANGE BETWEEN INTERVAL 24 HOUR PRECEDING AND CURRENT ROW),
        account_payee AS (PARTITION BY account_id, payee_id ORDER BY event_time),
        account_payee_past AS (account_payee RANGE BETWEEN INTERVAL 90 DAY PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW),
        payee AS (PARTITION BY payee_id ORDER BY event_time),
        payee_24h AS (payee RANGE BETWEEN INTERVAL 24 HOUR PRECEDING AND CURRENT ROW),
        payee_90d AS (payee RANGE BETWEEN INTERVAL 90 DAY PRECEDING AND CURRENT ROW)
)
SELECT
    event_id,
    amount,
    channel,
    mcc,
    country <> 'JP' AS abroad,
    extract(hour FROM event_time AT TIME ZONE 'Asia/Tokyo') AS hour,
    extract(hour FROM event_time AT TIME ZONE 'Asia/Tokyo') < 6 AS night,
    extract(isodow FROM event_time AT TIME ZONE 'Asia/Tokyo') >= 6 AS weekend,

    card_count_10m,
    card_count_1h,
    card_count_24h,
    card_count_30d,
    card_amount_1h,
    card_amount_24h,
    card_amount_24h / NULLIF(card_amount_7d, 0) AS card_amount_share_24h,
    amount / NULLIF(card_mean_30d, 0) AS amount_vs_card_mean,
    (amount - card_mean_30d) / NULLIF(card_stddev_30d, 0) AS amount_z,
    amount / NULLIF(card_max_30d, 0) AS amount_vs_card_max,
    card_small_1h,
    card_merchants_24h,
    date_diff('second', card_last_time, event_time) AS card_seconds_since_last,
    card_declines_24h,
    card_frauds_30d,
    card_merchant_count_30d,

    merchant_count_1h,
    merchant_tiny_1h,
    amount / NULLIF(merchant_mean_7d, 0) AS amount_vs_merchant_mean,
    merchant_frauds_28d,
    terminal_count_24h,
    amount / NULLIF(terminal_mean_28d, 0) AS amount_vs_terminal_mean,
    terminal_frauds_28d,

    device_count_1h,
    device_accounts_7d,
    account_device_count_30d,

    account_transfers_1h,
    account_amount_24h,
    account_new_payees_24h,
    account_limit_changes_24h,
    account_senders_24h,
    amount / NULLIF(account_credits_24h, 0) AS passed_on_share,
    account_payee_count_90d,
    payee_senders_24h,
    payee_frauds_90d
FROM seen
