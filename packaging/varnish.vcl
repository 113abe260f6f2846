# Varnish 7 in front of chunkstore: /etc/varnish/chunkstore.vcl. docs/behind-a-proxy.md says more.
vcl 4.1;

backend origin {
    .host = "127.0.0.1";
    .port = "8080";
    # Longer than the origin holds a request (5 s; a playlist, three of its target durations), and
    # than it waits for a silent writer (20 s): what became of that, it says itself.
    .first_byte_timeout = 30s;
    .between_bytes_timeout = 30s;
}

sub vcl_recv {
    # The origin reads no cookies; with one, a request would get a fetch of its own.
    unset req.http.Cookie;
    # What a player tells of itself is part of the URL: each would have an object of its own.
    if (req.url ~ "[?&]CMCD=") {
        set req.url = regsub(regsub(req.url, "([?&])CMCD=[^&]*&?", "\1"), "[?&]$", "");
    }
    # A tunnel: passed on, an upload that breaks off would be ended as if it were whole.
    if (req.method == "PUT" || req.method == "POST") {
        return (pipe);
    }
    # All of it, which the origin answers with 200 too.
    if (req.http.Range == "bytes=0-") {
        unset req.http.Range;
    }
    # Varnish takes no range out of what still grows; the origin does. LIST, HEAD, DELETE are its too.
    if (req.method != "GET" || req.http.Range) {
        return (pass);
    }
}

sub vcl_pipe {
    # Encoders keep their connection.
    unset bereq.http.Connection;
}

sub vcl_backend_response {
    # The size of what grows is unknown, "*", and Varnish refuses such a range: it is shown none.
    if (beresp.status == 206) {
        set beresp.http.Unchecked-Range = beresp.http.Content-Range;
        unset beresp.http.Content-Range;
    }
    if (bereq.uncacheable) {
        return (deliver);
    }
    # Nothing is served beyond its time: a manifest would be 10 s late.
    set beresp.grace = 0s;
    # True of the fetch; the object will be complete.
    unset beresp.http.Chunkstore-State;
    # A 404 is for those who asked before it came, and nobody who asks later. As uncacheable, which is
    # what becomes of `no-store`, it would send everybody to the origin for two minutes; with 0 s they
    # would go there one after the other.
    if (beresp.status != 200) {
        set beresp.ttl = 0.1ms;
        set beresp.keep = 1s;
        return (deliver);
    }
}

sub vcl_backend_error {
    # The same for the 503 of an origin that can't be reached.
    set beresp.ttl = 0.1ms;
    set beresp.grace = 0s;
    set beresp.keep = 1s;
}

sub vcl_deliver {
    if (resp.http.Unchecked-Range) {
        set resp.http.Content-Range = resp.http.Unchecked-Range;
        unset resp.http.Unchecked-Range;
    }
}
